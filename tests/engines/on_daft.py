"""Daft: `python -m tests.engines.on_daft INPUT OUT URL`."""

import sys

import daft

from anyrerank.batch import RerankBatch

if __name__ == "__main__":
    inputs, out, url = sys.argv[1:]
    batch = RerankBatch("cohere_compatible/m", api_base=url, api_key_env="OUR_KEY", in_flight=8)
    frame = daft.read_parquet(f"{inputs}/*.parquet")
    frame.select("id", batch.daft(frame["query"], frame["candidates"])).write_parquet(out)
