"""Dask: `python -m tests.engines.on_dask INPUT OUT URL`."""

import sys

import dask.dataframe as dd

from anyrerank.batch import RerankBatch

if __name__ == "__main__":
    inputs, out, url = sys.argv[1:]
    batch = RerankBatch("cohere_compatible/m", api_base=url, api_key_env="OUR_KEY", in_flight=8)
    frame = dd.read_parquet(inputs)
    frame.map_partitions(batch.frame, meta=batch.meta(frame)).to_parquet(out, write_index=False)
