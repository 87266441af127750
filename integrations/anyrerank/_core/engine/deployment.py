"""Deployments: one model at one provider, with its connection and prices."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

from anyrerank._core.engine.environment import connect, provider_class, split_model
from anyrerank._core.engine.options import Options, ScoreMode, ScoreScale
from anyrerank._core.engine.provider_options import provider_options
from anyrerank._core.engine.slots import Slots
from anyrerank._core.pricing import FREE, AttemptCost, Budget, Price, attempt_cost, estimate_cost, list_price
from anyrerank._core.runtime import Flow, Sender, untraced
from anyrerank._core.types import Answer, Attempt, RerankRequest, Scale
from anyrerank.errors import RerankError, UnknownPriceError
from anyrerank.providers import Provider, dollars

T = TypeVar("T")


class Deployment:
    """One model at one provider. The constructor sends nothing and needs no key.

    Args:
        model, custom_llm_provider, api_key, api_base, headers: As for `anyrerank.Reranker`.
        settings: Values of the provider's `settings`.
        price: Price of this model; empty if not given.
        prices: Prices by `provider/model`, in place of the built-in list.
        sender: Sends its requests.
        own: Options in place of those of the call: provider options, `extra_body`, `score_scale`, guardrails, budgets;
            `score_threshold` and `score_mode` if they are set.
        defaults, default_body, score_scale: Provider options, `extra_body` and `score_scale` of calls that have none.
        budget: A budget in addition to those of the call.
        slots: Limit its concurrent requests over all calls; `None` for no limit.
        model_id: `model_info.id` of the entry in a router's `model_list`.
        forward_trace: Whether its requests continue the trace of the call.

    Raises:
        ConfigurationError: Unknown provider.
    """

    def __init__(
        self,
        model: str,
        *,
        custom_llm_provider: str | type[Provider] | None = None,
        api_key: str | None = None,
        api_base: str | None = None,
        headers: Mapping[str, str] | None = None,
        settings: Mapping[str, Any],
        price: Price,
        prices: Mapping[str, Price],
        sender: Sender,
        own: Options | None = None,
        defaults: Mapping[str, Any] | None = None,
        default_body: Mapping[str, Any] | None = None,
        score_scale: ScoreScale | None = None,
        budget: Budget | None = None,
        slots: Slots | None = None,
        model_id: str | None = None,
        forward_trace: bool = True,
    ) -> None:
        self.provider, self.model = split_model(model, custom_llm_provider)
        self.kind = provider_class(model, custom_llm_provider)
        self.sender = sender
        self.own = own
        self.budget = budget
        self.slots = slots
        self.model_id = model_id
        self._forward_trace = forward_trace
        self._defaults = defaults or {}
        self._default_body = default_body or {}
        self._score_scale = score_scale
        self._connection: dict[str, Any] = {
            "custom_llm_provider": self.kind,
            "api_key": api_key,
            "api_base": api_base,
            "headers": headers,
            "settings": settings,
        }
        self._price = price
        self._prices = prices
        self._connected: Provider | None = None

    def __repr__(self) -> str:
        return f"Deployment({self.name!r})"

    @property
    def name(self) -> str:
        """`provider/model`."""
        return f"{self.provider}/{self.model}"

    @property
    def accepts_images(self) -> bool:
        """Whether a document may be a mapping with an `image`."""
        return self.kind.reads_images(self.model)

    def sibling(self, model: str, sender: Sender) -> Deployment:
        """`model` with this connection if the provider and its server are the same, else with that of the environment.

        Args:
            model: `provider/model`.
            sender: Sends the requests to another server, to which the certificates of this one do not apply.
        """
        provider, name = split_model(model)
        if provider == self.provider and self.kind.same_server(self.model, name):
            connection = {**self._connection, "sender": self.sender, "slots": self.slots}
        else:
            connection = {"settings": {}, "sender": sender}
        return Deployment(model, **connection, price=Price(), prices=self._prices)

    def with_own(self, own: Options) -> Deployment:
        """A copy with its own options; one that has some gets the threshold and the mode that it lacks."""
        other = copy.copy(self)
        other.own = own if self.own is None else _with_scores_of(self.own, own)
        return other

    def with_sender(self, sender: Sender, discount: float) -> Deployment:
        """A copy whose requests are answered by `sender`, at prices that are lower by the share `discount`."""
        other, price = copy.copy(self), self.price()
        other.sender, other.slots = sender, None
        other._price = Price() if price is None else price.discounted(discount)
        for name in ("_given_price", "_listed_price"):
            other.__dict__.pop(name, None)
        return other

    def in_slot(self, flow: Flow[T]) -> Flow[T]:
        """Run the flow of one request, once a slot is free."""
        sent = flow if self._forward_trace else untraced(flow)
        return sent if self.slots is None else self.slots.holding(sent)

    def connected(self) -> Provider:
        """The provider with its key and base URL, looked up at each call until both are found.

        Raises:
            RerankError: The key or the base URL is missing or malformed.
        """
        if self._connected is None:
            provider = connect(self.name, **self._connection)
            provider.check()
            self._connected = provider
        return self._connected

    def fault(self) -> RerankError | None:
        """The error that prevents calls, such as a missing key or a malformed base URL, or `None`."""
        try:
            self.connected()
        except RerankError as error:
            return error
        return None

    def identity(self, options: Options) -> tuple[object, ...]:
        """Everything that its scores depend on, except query and documents."""
        known = self.name if self.fault() is not None else self.connected().identity
        return known, sorted(self.provider_options(options).items()), self.extra_body(options)

    def extra_body(self, options: Options) -> Mapping[str, Any]:
        """What is merged into the JSON body of a request."""
        return (self.own or options).extra_body or self._default_body

    def provider_options(self, options: Options) -> dict[str, Any]:
        """The provider options of a call.

        Raises:
            BadRequestError: The provider does not have one of them, and `drop_params` is false.
        """
        given = {**self._defaults, **options.provider_options} if self.own is None else self.own.provider_options
        return provider_options(given, self.kind, drop_params=options.drop_params)

    @property
    def has_own_threshold(self) -> bool:
        """Whether it has a `score_threshold` of its own."""
        return self.own is not None and self.own.score_threshold is not None

    def threshold(self, options: Options) -> float | None:
        """The `score_threshold` for its scores: its own, else that of the call."""
        own = None if self.own is None else self.own.score_threshold
        return options.score_threshold if own is None else own

    def _mode(self, options: Options) -> ScoreMode:
        """The `score_mode` for its scores: its own if that is set, or belongs to its own threshold."""
        own = self.own
        if own is not None and (own.score_threshold is not None or "score_mode" in own.model_fields_set):
            return own.score_mode
        return options.score_mode

    def check_options(self, options: Options) -> None:
        """Check the names of the provider options, and their values as far as that needs no key.

        Raises:
            BadRequestError: The provider does not have one of them (and `drop_params` is false), or not its value.
        """
        given = self.provider_options(options)
        if given and (provider := self._unchecked()) is not None:
            provider.check_options(given)

    def _unchecked(self) -> Provider | None:
        """The provider without the check of its key and base URL, or `None` if it cannot be made yet."""
        try:
            return self._connected or connect(self.name, **self._connection)
        except RerankError:
            return None

    def returns_logits(self, options: Options) -> bool:
        """Whether its scores are logits that `score_mode` asks to map to 0..1."""
        return self._mode(options) == "unit" and self._scale(options) == "logit"

    def check_score_mode(self, options: Options) -> None:
        """Check that the scale is known if `score_mode` maps the scores.

        Raises:
            BadRequestError: It is not known.
        """
        if self._mode(options) == "unit" and self._scale(options) == "unknown":
            raise self.connected().bad_request(
                f"score_mode='unit' is not possible: the scale of the scores of {self.name} is not known; if you know "
                "it, pass score_scale='logit' or 'unit'"
            )

    def contradicts(self, options: Options) -> bool:
        """Whether `score_scale` is not what the scale is known to be."""
        given, known = self._given_scale(options), "unknown"
        if given is not None and self.fault() is None:
            known = self.connected().score_scale(self.provider_options(options))
        return known not in ("unknown", given)

    def _given_scale(self, options: Options) -> ScoreScale | None:
        return (self.own or options).score_scale or self._score_scale

    def _scale(self, options: Options) -> Scale:
        """The scale of the scores: the provider's if it is known, otherwise the user's `score_scale`."""
        scale = self.connected().score_scale(self.provider_options(options))
        return self._given_scale(options) or scale if scale == "unknown" else scale

    def scale_of_results(self, options: Options) -> Scale:
        """The scale of the scores in a response."""
        if self.fuse(options) is not None:
            return "unknown"
        return "unit" if self._mode(options) == "unit" else self._scale(options)

    def expected_scale(self, options: Options) -> Scale:
        """`scale_of_results` as far as it is known without a key; the environment may still change."""
        if self._mode(options) == "unit":
            return "unit"
        provider = self._unchecked()
        scale = "unknown" if provider is None else provider.score_scale(self.provider_options(options))
        return self._given_scale(options) or scale if scale == "unknown" else scale

    def fuse(self, options: Options) -> str | None:
        """How its order is fused with the incoming one, or `None`."""
        return self.kind.pipeline_fuse if options.fuse == "auto" else options.fuse

    def price(self) -> Price | None:
        """The price of this model, or `None` if unknown."""
        return self._given_price or self._listed_price

    def may_have_price(self) -> bool:
        """Whether its price is known, or may be once it is connected."""
        provider, other = self._unchecked(), copy.copy(self)
        other._connected = provider
        return provider is None or other.price() is not None

    @cached_property
    def _given_price(self) -> Price | None:
        """The user's price, or that of a model on this machine."""
        provider = self.connected()
        if provider.free and not self._price:
            return FREE
        named = (self._prices.get(name.casefold()) for name in provider.price_names)
        return self._price or next(filter(None, named), None)

    @cached_property
    def _listed_price(self) -> Price | None:
        return list_price(self.connected().price_names)

    def _cost(self, answer: Answer | None, documents: int) -> AttemptCost:
        """The cost of an answer by the user's prices, else as the provider reports it, else by the built-in list."""
        price = self._given_price
        if price is None and answer is not None and (reported := dollars(answer.cost)) is not None:
            return AttemptCost(reported)
        return attempt_cost(price or self._listed_price, answer.meta if answer else None, documents)

    def attempt(self, outcome: Answer | RerankError, documents: int, *, started: float, seconds: float) -> Attempt:
        """The record of an attempt to rank `documents` documents here."""
        if isinstance(outcome, RerankError):
            status, error = outcome.status_code, type(outcome).__name__
            billed = status is not None and 200 <= status < 300  # the response could not be used
            cost = self._cost(None, documents) if billed else AttemptCost(None)
        else:
            status, error, cost = outcome.status, None, self._cost(outcome, documents)
        return Attempt(
            deployment=self.name,
            model_id=self.model_id,
            status=status,
            error=error,
            started=started,
            seconds=seconds,
            cost=cost.dollars,
            estimated=cost.estimated,
        )

    def estimate(self, request: RerankRequest, starts: Sequence[int] = (0,), owners: Sequence[str] = ()) -> float:
        """The estimated cost of ranking documents here, in US dollars, for a budget.

        Args:
            request: All documents.
            starts: Index of the first document of each request.
            owners: Whose budgets need it, for the error.

        Raises:
            UnknownPriceError: The price is unknown.
        """
        cost = estimate_cost(self.price(), request.prompt, request.documents, request.rank_fields, starts=starts)
        if cost is None:
            whose = f" (that of the {' and of the '.join(owners)})" if owners else ""
            raise UnknownPriceError(
                f"a budget{whose} needs a price, and the price of {self.name} is not known: pass "
                "input_cost_per_query= or input_cost_per_token= (0 if it is free), or prices=",
                provider=self.provider,
                model=self.model,
            )
        return cost


def _with_scores_of(own: Options, outer: Options) -> Options:
    """`own` with the `score_threshold` and `score_mode` of `outer`, unless it has a threshold."""
    if own.score_threshold is not None:
        return own
    names = {"score_threshold", "score_mode"} & outer.model_fields_set - own.model_fields_set
    return own.model_copy(update={name: getattr(outer, name) for name in names})
