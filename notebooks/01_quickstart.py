# %% [markdown]
# # Quickstart
#
# A retriever finds candidates quickly and roughly. A **reranker** reads each candidate together with the question and
# puts the best ones first, so that fewer and better passages reach the language model.
#
# `anyrerank` does that through any provider. This notebook needs no key, no server and no download: it uses
# `local/lexical`, which counts the words and parts of words that a document shares with the question. That is a floor
# to start from, and one cell below shows where it fails.
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
# `input` is the place of a document in the list that was handed in. A result holds the document itself, a string as
# `{"text": ...}` and a mapping as it was given:

# %%
for result in response.results:
    print(f"{result.relevance_score:.3f}  documents[{result.index}]  {result.document}")

# %% [markdown]
# `top_n` says how many results to return, `score_threshold` how good one must be. What a score means depends on the
# model: Cohere's lie between 0 and 1, NVIDIA's are logits and often negative. `score_mode="unit"` brings the known
# scales to 0..1.

# %%
rerank("local/lexical", "memory bandwidth of the H100", documents, top_n=3, score_threshold=0.2)

# %% [markdown]
# What was used is in `meta`: only numbers that the provider gave, so none for a model on this machine. `to_cohere()`
# is the answer as Cohere-shaped JSON, and `response["results"]` works as in LiteLLM.

# %%
print(response.provider, response.model, response.cost, response.meta)
response.to_cohere()["results"][:2]

# %% [markdown]
# In a notebook an event loop is running already. `await` works at top level, and so does every synchronous call, here
# as everywhere:

# %%
from anyrerank import Reranker, arerank

awaited = await arerank("local/lexical", "memory bandwidth of the H100", documents, top_n=1)
reranker = Reranker("local/lexical", top_n=1)  # to keep: its connections stay open between calls
called = reranker.rerank("memory bandwidth of the H100", documents)
print("the same:", awaited.results == called.results)

# %% [markdown]
# ## Where the floor loses
#
# The first document answers the question and shares no word with it. The second shares its words and does not answer.
# Whoever counts words falls for that; seeing past it is what models are trained for.

# %%
paraphrased = [
    "To cancel the subscription, open Settings, then Billing.",
    "You pay every month, on the day you signed up.",
    "Invoices are sent by e-mail.",
]
lost = rerank("local/lexical", "How do I stop paying every month?", paraphrased)
print("the answer is documents[0]; first comes", lost.results[0].index)
lost

# %% [markdown]
# ## LangChain
#
# The text is the language reference of Python, which comes with this package. The embedding is latent semantic
# analysis of that text, and the vector store is LangChain's own.

# %%
from anyrerank.demo.corpus import passages
from anyrerank.demo.embedding import Lsa
from anyrerank.demo.in_langchain import store

lsa = Lsa([passage.text for passage in passages()])
retriever = store(lsa).as_retriever(search_kwargs={"k": 20})
question = "What does the else clause of a loop do?"


def listed(ranked):
    for rank, (topic, text) in enumerate(ranked, start=1):
        print(f"{rank}  {topic:10}  {' '.join(text.split())[:90]}")


listed((found.metadata["topic"], found.page_content) for found in retriever.invoke(question)[:5])

# %% [markdown]
# `RerankRetriever` takes the place of the retriever and reranks what it finds. (In a pipeline the candidates are ranked
# already; `local/lexical`, and it alone, has its order fused with theirs: shared words are evidence beside theirs.)

# %%
from anyrerank.langchain import AnyRerank, RerankRetriever

reranked = RerankRetriever(base_retriever=retriever, reranker=AnyRerank(model="local/lexical", top_n=5))
listed((found.metadata["topic"], found.page_content) for found in await reranked.ainvoke(question))

# %% [markdown]
# It is a runnable like any other:

# %%
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough

from anyrerank.demo.in_langchain import joined

prompt = ChatPromptTemplate.from_template("Answer from these passages alone.\n\n{context}\n\nQuestion: {question}")
chain = {"context": reranked | joined, "question": RunnablePassthrough()} | prompt  # | your model
print(chain.invoke(question).to_messages()[0].content[:600], "...")

# %% [markdown]
# ## LlamaIndex
#
# The same as a node postprocessor. `MockLLM` stands where the model would; it answers with its prompt.

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
listed((found.node.metadata["topic"], found.node.get_content()) for found in answer.source_nodes)

# %% [markdown]
# And synchronously, inside the loop that runs this notebook:

# %%
again = engine.query(question)
print("the same:", [found.node_id for found in again.source_nodes] == [found.node_id for found in answer.source_nodes])

# %% [markdown]
# ## A real provider
#
# Change the model string and nothing else. The key comes from the environment.

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
    print("No key here. Set", " or ".join(KEYS), "and run this cell again: does the answer come first then?")
