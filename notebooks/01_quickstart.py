# %% [markdown]
# # Quickstart
#
# A retriever finds candidates quickly and roughly. A **reranker** reads each candidate together with the question and
# puts the best ones first, so that fewer and better passages reach the language model.
#
# `anyrerank` does that with any provider. This notebook needs no key, no server and no download: it uses
# `local/lexical`, which matches words and parts of words. That is a baseline, and one cell below shows where it fails.
#
#     pip install 'anyrerank[demo,notebook]'

# %% [markdown]
# ## One call

# %%
from anyrerank import rerank

documents = [
    "The A100 80GB reaches 2,039 GB/s of memory bandwidth.",
    "Power supplies of servers are usually redundant.",
    "An H100 in the SXM form factor has 3.35 TB/s of GPU memory bandwidth.",
    {"text": "An H100 on a PCIe card reaches 2 TB/s.", "source": "datasheet.pdf", "page": 3},
]
response = rerank("local/lexical", "What is the memory bandwidth of an H100 SXM?", documents)
response

# %% [markdown]
# `input` is the index of the document in your list. Each result contains its document: a string as `{"text": ...}`, a
# mapping unchanged.

# %%
for result in response.results:
    print(f"{result.relevance_score:.3f}  documents[{result.index}]  {result.document}")

# %% [markdown]
# `top_n` is the maximum number of results, `score_threshold` the minimum score. The scale of scores depends on the
# model: Cohere's lie between 0 and 1, NVIDIA's are logits and often negative. `score_mode="unit"` maps known scales to
# 0..1.

# %%
rerank("local/lexical", "memory bandwidth of the H100", documents, top_n=3, score_threshold=0.2)

# %% [markdown]
# `meta` contains the usage that the provider reported, so it is empty for a model on this machine. `to_cohere()`
# returns the response in Cohere's JSON format, and `response["results"]` works as in LiteLLM.

# %%
print(response.provider, response.model, response.cost, response.meta)
response.to_cohere()["results"][:2]

# %% [markdown]
# A notebook already runs an event loop. `await` works at the top level, and synchronous calls work too:

# %%
from anyrerank import Reranker, arerank

awaited = await arerank("local/lexical", "memory bandwidth of the H100", documents, top_n=1)
reranker = Reranker("local/lexical", top_n=1)  # reusable: keeps its connections open between calls
called = reranker.rerank("memory bandwidth of the H100", documents)
print("same results:", awaited.results == called.results)

# %% [markdown]
# ## Where lexical matching fails
#
# The first document answers the question and shares no word with it. The second shares its words and does not answer
# it. Lexical matching prefers the second; trained models are made to avoid that mistake.

# %%
paraphrased = [
    "To cancel the subscription, open Settings, then Billing.",
    "You pay every month, on the day you signed up.",
    "Invoices are sent by e-mail.",
]
mistaken = rerank("local/lexical", "How do I stop paying every month?", paraphrased)
print(f"the answer is documents[0], but documents[{mistaken.results[0].index}] comes first")
mistaken

# %% [markdown]
# ## LangChain
#
# The text is the language reference of Python, which is included in this package. The embedding is latent semantic
# analysis of that text, and the vector store is LangChain's.

# %%
from anyrerank.demo import Lsa, passages
from anyrerank.demo.in_langchain import vector_store

lsa = Lsa([passage.text for passage in passages()])
retriever = vector_store(lsa).as_retriever(search_kwargs={"k": 20})
question = "What does the else clause of a loop do?"


def show(ranked):
    for rank, (topic, text) in enumerate(ranked, start=1):
        print(f"{rank}  {topic:10}  {' '.join(text.split())[:90]}")


show((found.metadata["topic"], found.page_content) for found in retriever.invoke(question)[:5])

# %% [markdown]
# `RerankRetriever` wraps your retriever and reranks what it finds. (In a pipeline, the order of `local/lexical` is
# fused with the order of the retriever, because each has information that the other lacks. Other models are not
# fused.)

# %%
from anyrerank.langchain import AnyRerank, RerankRetriever

reranked = RerankRetriever(base_retriever=retriever, reranker=AnyRerank(model="local/lexical", top_n=5))
show((found.metadata["topic"], found.page_content) for found in await reranked.ainvoke(question))

# %% [markdown]
# It is a runnable, so it fits into a chain:

# %%
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough

from anyrerank.demo.in_langchain import format_documents

prompt = ChatPromptTemplate.from_template("Answer only from these passages.\n\n{context}\n\nQuestion: {question}")
chain = {"context": reranked | format_documents, "question": RunnablePassthrough()} | prompt  # | your model
print(chain.invoke(question).to_messages()[0].content[:600], "...")

# %% [markdown]
# ## LlamaIndex
#
# The same as a node postprocessor. `MockLLM` takes the place of a language model and returns its prompt.

# %%
from llama_index.core import VectorStoreIndex
from llama_index.core.llms import MockLLM

from anyrerank.demo.in_llama_index import LsaEmbedding, nodes
from anyrerank.llama_index import AnyRerank as AnyRerankNodes

index = VectorStoreIndex(nodes(), embed_model=LsaEmbedding(lsa))
engine = index.as_query_engine(
    llm=MockLLM(), similarity_top_k=20, node_postprocessors=[AnyRerankNodes(model="local/lexical", top_n=5)]
)
answer = await engine.aquery(question)
show((found.node.metadata["topic"], found.node.get_content()) for found in answer.source_nodes)

# %% [markdown]
# It also works synchronously, inside the event loop of this notebook:

# %%
again = engine.query(question)
print(
    "same nodes:", [found.node_id for found in again.source_nodes] == [found.node_id for found in answer.source_nodes]
)

# %% [markdown]
# ## A real provider
#
# Only the model string changes. The key comes from the environment.

# %%
import os

KEYS = {
    "NVIDIA_NIM_API_KEY": "nvidia_nim/nvidia/llama-3_2-nv-rerankqa-1b-v2",
    "COHERE_API_KEY": "cohere/rerank-v3.5",
}
models = [model for key, model in KEYS.items() if os.environ.get(key)]
for model in models:
    print(rerank(model, "How do I stop paying every month?", paraphrased))
if not models:
    print("No API key found. Set", " or ".join(KEYS), "and run this cell again: does the answer come first?")
