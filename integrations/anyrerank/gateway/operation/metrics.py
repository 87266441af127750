"""The metrics of a gateway, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from anyrerank._core.engine import causes
from anyrerank._core.types import Attempt, RerankResponse
from anyrerank.errors import BudgetExceededError
from anyrerank.gateway.http import Host
from anyrerank.gateway.operation.series import Durations, Names, Totals
from anyrerank.gateway.operation.worker_metrics import WorkerMetrics
from anyrerank.gateway.rerank import Exchange


class Metrics(Collector):
    """Counts the requests of one gateway. Belongs to its event loop.

    Attributes:
        registry: The metrics of this process; others may add collectors of their own.
        worker_metrics: Adds those of other workers.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._model, self._key, self._deployment, self._id = Names(), Names(), Names(), Names()
        self._requests = Totals("anyrerank_requests", "Requests.", "route", "dialect", "model", "status")
        self._seconds = Durations(
            "anyrerank_request_duration_seconds", "Time from the headers of a request to its answer.", "route", "model"
        )
        self._overhead = Durations(
            "anyrerank_overhead_seconds", "The part of the time that the gateway itself needed.", "route"
        )
        self._rejected = Totals(
            "anyrerank_rejected",
            "Requests that were refused before anything was sent to a provider.",
            "reason",
            "key_alias",
            "owner",
        )
        self._gone = Totals("anyrerank_client_gone", "Requests whose client went away before it was answered.")
        self._attempts = Totals(
            "anyrerank_attempts", "Requests to providers, with the class of the error.", "deployment", "id", "error"
        )
        self._dollars = Totals("anyrerank_cost_dollars", "US dollars, as far as known.", "model", "key_alias")
        self._units = Totals("anyrerank_search_units", "Search units that were billed.", "model")
        self._tokens = Totals("anyrerank_tokens", "Tokens that providers read, as far as reported.", "model")
        self._documents = Totals("anyrerank_documents", "Documents that were ranked.", "model")
        self._pairs = Totals("anyrerank_cache_pairs", "Scores from the cache, and others.", "model", "result")
        self._fallbacks = Totals("anyrerank_fallbacks", "Answers that another model gave.", "model")
        self._degraded = Totals("anyrerank_degraded", "Answers in the incoming order, without scores.", "model")
        self.worker_metrics: WorkerMetrics | None = None
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        self._shown = self.registry

    def __call__(self, exchange: Exchange) -> None:
        """Count a request for a reranking."""
        model, route = self._model(exchange.model), exchange.route
        key = self._key(exchange.caller.alias if exchange.caller else None)
        self._requests.add(1, route, exchange.dialect.name, model, str(exchange.status))
        self._seconds.add(exchange.seconds, route, model)
        if exchange.status == 499:
            self._gone.add(1)
        response, error = exchange.response, exchange.error
        if response is not None:
            self._overhead.add(max(0.0, exchange.seconds - exchange.upstream), route)
            self._answered(model, response, len(exchange.asked.documents) if exchange.asked else 0)
            if exchange.fallbacks:
                self._fallbacks.add(1, model)
            attempts = response.attempts
        else:
            attempts = () if error is None else error.attempts
            if exchange.kind is not None and not attempts and exchange.status != 499:
                self._rejected.add(1, exchange.kind, key, _owner(exchange))
        self._spent(model, key, attempts)

    def served(self, route: str, status: int) -> None:
        """Count another request."""
        self._requests.add(1, route, "", "", str(status))

    def collect(self) -> Iterable[Metric]:
        """For the registry."""
        families = (value for value in vars(self).values() if isinstance(value, Totals | Durations))
        yield from (family.collect() for family in families)
        admission = self._host.admission
        yield _gauge("anyrerank_in_flight", "Requests that are worked on.", admission.in_flight)
        yield _gauge("anyrerank_queue_depth", "Requests that wait to be worked on.", admission.waiting)
        yield _gauge("anyrerank_held_bytes", "Bodies of the requests that are worked on.", admission.held)
        yield _gauge("anyrerank_connections", "Connections of clients.", self._host.connections)
        labels = ("model", "deployment", "id")
        state = GaugeMetricFamily("anyrerank_deployment_state", "1, or 0 while it cools down.", labels=labels)
        load = GaugeMetricFamily("anyrerank_deployment_in_flight", "Calls in flight.", labels=labels)
        pauses = CounterMetricFamily("anyrerank_cooldowns", "Cooldowns that this process began.", labels=labels)
        for each in self._host.service.router.deployment_status():
            names = (each.model_name, each.deployment, each.model_id)
            state.add_metric(names, 0.0 if each.cooldown else 1.0)
            load.add_metric(names, each.in_flight)
            pauses.add_metric(names, each.cooldowns)
        yield from (state, load, pauses)

    def share(self, folder: Path, number: int) -> None:
        """Show the metrics of all workers from now on.

        Args:
            folder: Where each worker writes its own.
            number: Of this worker.
        """
        self.worker_metrics = WorkerMetrics(self.registry, folder, number)
        self._shown = CollectorRegistry()
        self._shown.register(self.worker_metrics)

    def text(self, accept: str) -> tuple[bytes, str]:
        """All metrics, and their content type.

        Args:
            accept: The formats that the client can read.
        """
        encode, content_type = choose_encoder(accept)
        return encode(self._shown), content_type

    def _answered(self, model: str, response: RerankResponse, documents: int) -> None:
        self._documents.add(documents, model)
        billed, tokens = response.meta.billed_units, response.meta.tokens
        if billed is not None and billed.search_units:
            self._units.add(billed.search_units, model)
        if read := (tokens and tokens.input_tokens) or (billed and billed.total_tokens):
            self._tokens.add(read, model)
        if response.cached:
            self._pairs.add(response.cached, model, "hit")
        if documents > response.cached:
            self._pairs.add(documents - response.cached, model, "miss")
        if response.degraded:
            self._degraded.add(1, model)

    def _spent(self, model: str, key: str, attempts: Iterable[Attempt]) -> None:
        for attempt in attempts:
            deployment, identifier = self._deployment(attempt.deployment), self._id(attempt.model_id)
            self._attempts.add(1, deployment, identifier, attempt.error or "")
            if attempt.cost:
                self._dollars.add(attempt.cost, model, key)


def _owner(exchange: Exchange) -> str:
    """Whose budget is used up, if that is why a request was refused."""
    if exchange.kind != "budget_exceeded" or exchange.error is None:
        return ""
    owners = (each.owner for each in causes(exchange.error) if isinstance(each, BudgetExceededError))
    return next((owner.replace(" ", "_") for owner in owners if owner), "")


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value)
