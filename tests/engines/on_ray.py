"""Ray Data: `python -m tests.engines.on_ray INPUT OUT URL`."""

import sys

import ray

from anyrerank.batch import RerankBatch

if __name__ == "__main__":
    inputs, out, url = sys.argv[1:]
    ray.init(num_cpus=2, include_dashboard=False)
    ray.data.DataContext.get_current().target_max_block_size = 4 << 20  # what a kill costs at most
    options = {"model": "cohere_compatible/m", "api_base": url, "api_key_env": "OUR_KEY", "in_flight": 8}
    ray.data.read_parquet(inputs).map_batches(
        RerankBatch,
        fn_constructor_kwargs=options,
        batch_format="pyarrow",
        batch_size=64,
        compute=ray.data.ActorPoolStrategy(size=1),
    ).write_parquet(out)
