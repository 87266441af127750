"""Spark, once with Arrow and once with pandas: `python -m tests.engines.on_spark INPUT OUT URL`."""

import sys

from pyspark.sql import SparkSession

from anyrerank.batch import RerankBatch

if __name__ == "__main__":
    inputs, out, url = sys.argv[1:]
    batch = RerankBatch("cohere_compatible/m", api_base=url, api_key_env="OUR_KEY", in_flight=8)
    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    frame = spark.read.parquet(inputs)
    frame.mapInArrow(batch.in_arrow, batch.ddl(frame)).write.parquet(out, mode="overwrite")
    frame.mapInPandas(batch.in_pandas, batch.ddl(frame)).write.parquet(f"{out}-pandas", mode="overwrite")
    spark.stop()
