"""What `anyrerank demo` shows: real text, a real embedding, real stores, and a rerank between retrieval and answer.

    corpus          the text and its passages
    embedding       latent semantic analysis, which needs no download
    questions       what is asked, and which topics answer it
    in_langchain    the pipeline in LangChain
    in_llama_index  the pipeline in LlamaIndex
    outcome         what a pipeline gives back
    tables          how it looks
    show            one run, from start to end

Needs `pip install 'anyrerank[demo]'`; only the two pipelines import a framework.
"""
