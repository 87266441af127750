"""Hugging Face datasets: `python -m tests.engines.on_datasets INPUT OUT URL`."""

import sys

from datasets import Features, load_dataset

from anyrerank.batch import RerankBatch

if __name__ == "__main__":
    inputs, out, url = sys.argv[1:]
    batch = RerankBatch("cohere_compatible/m", api_base=url, api_key_env="OUR_KEY", in_flight=8)
    dataset = load_dataset("parquet", data_files=f"{inputs}/*.parquet", split="train")
    features = Features.from_arrow_schema(batch.schema(dataset.features.arrow_schema))
    dataset.map(batch.row, remove_columns=["query", "candidates"], features=features).to_parquet(f"{out}/all.parquet")
