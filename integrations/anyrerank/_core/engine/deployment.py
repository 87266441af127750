"""One model at one provider: its connection, what it accepts, and what its answers cost."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from anyrerank._core.engine.environment import connect, provider_class, split_model
from anyrerank._core.engine.options import Options
from anyrerank._core.engine.provider_options import provider_options
from anyrerank._core.pricing import FREE, Budget, Price, Spent, estimated, listed, spent
from anyrerank._core.runtime import Sender
from anyrerank._core.types import Answer, RerankRequest, Scale
from anyrerank.errors import RerankError
from anyrerank.providers import Provider, dollars


class Deployment:
    """One model at one provider. Making one sends nothing and needs no key.

    Args:
        model, custom_llm_provider, api_key, api_base, headers: As for `anyrerank.Reranker`.
        settings: The provider's `settings` that the caller gave.
        price: The caller's price; empty if there is none.
        prices: The caller's prices by `provider/model`; they replace the built-in list.
        sender: What its requests are sent with.
        own: Options of its own, in place of those of the call: provider options, `extra_body`, guardrails and budgets.
        defaults, default_body: Provider options and `extra_body` for calls that do not give them.
        budget: What may be spent here, besides the budgets of the call.
        model_id: Its id in a router's `model_list`.

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
        budget: Budget | None = None,
        model_id: str | None = None,
    ) -> None:
        self.provider, self.model = split_model(model, custom_llm_provider)
        self.kind = provider_class(model, custom_llm_provider)
        self.sender = sender
        self.own = own
        self.budget = budget
        self.model_id = model_id
        self._defaults = defaults or {}
        self._default_body = default_body or {}
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
        self.fault()

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

    def sibling(self, model: str) -> Deployment:
        """`model` on this connection if the provider is the same, else on the one in the environment."""
        same = split_model(model)[0] == self.provider
        connection = self._connection if same else {"settings": {}}
        return Deployment(model, **connection, price=Price(), prices=self._prices, sender=self.sender)

    def with_own(self, own: Options) -> Deployment:
        """This deployment with options of its own, unless it has some."""
        if self.own is not None:
            return self
        other = copy.copy(self)
        other.own = own
        return other

    def connected(self) -> Provider:
        """The provider with its key and base URL, looked up again at each call until they are there."""
        if self._connected is None:
            provider = connect(self.name, **self._connection)
            provider.check()
            self._connected = provider
        return self._connected

    def fault(self) -> RerankError | None:
        """Why it cannot be asked, such as a missing key or a malformed base URL; `None` if it can."""
        try:
            self.connected()
        except RerankError as error:
            return error
        return None

    def identity(self, options: Options) -> tuple[object, ...]:
        """All that its scores depend on besides query and documents."""
        known = self.name if self.fault() is not None else self.connected().identity
        return known, sorted(self.provider_options(options).items()), self.extra_body(options)

    def extra_body(self, options: Options) -> Mapping[str, Any]:
        """What is merged into the JSON of a request."""
        return (self.own or options).extra_body or self._default_body

    def provider_options(self, options: Options) -> dict[str, Any]:
        """The provider's options: those of the call, unless it has options of its own.

        Raises:
            BadRequestError: One of them is not an option of this provider, and `drop_params` is off.
        """
        given = {**self._defaults, **options.provider_options} if self.own is None else self.own.provider_options
        return provider_options(given, self.kind, drop_params=options.drop_params)

    def scale(self, options: Options) -> Scale:
        """What the scores mean, as far as `score_mode` needs to know."""
        if options.score_mode == "raw":
            return self.kind.scale
        return self.connected().score_scale(self.provider_options(options))

    def fuse(self, options: Options) -> str | None:
        """How the order of its scores is fused with the incoming one; `None` if it is not."""
        return self.kind.pipeline_fuse if options.fuse == "auto" else options.fuse

    def request_size(self, options: Options) -> int | None:
        """How many documents a request may hold, as far as that is known without asking; `None` for any number."""
        if options.batch_size is not None or self.fault() is not None:
            return options.batch_size
        return self.connected().max_documents(self.provider_options(options))

    def price(self) -> Price | None:
        """The price of this model, or `None` if it is not known."""
        provider = self.connected()
        return self._given_price(provider) or listed(provider.price_names)

    def spent(self, answer: Answer | None, documents: int) -> Spent:
        """What an answer cost: by the caller's prices, else as the provider reports, else by the built-in list."""
        provider = self.connected()
        price = self._given_price(provider)
        if price is None and answer is not None and (reported := dollars(answer.cost)) is not None:
            return Spent(reported)
        return spent(price or listed(provider.price_names), answer.meta if answer else None, documents)

    def _given_price(self, provider: Provider) -> Price | None:
        if provider.free and not self._price:
            return FREE
        named = (self._prices.get(name.casefold()) for name in provider.price_names)
        return self._price or next(filter(None, named), None)

    def estimate(self, request: RerankRequest, starts: Sequence[int] = (0,)) -> float:
        """About how many US dollars it costs to rank documents here, for a budget.

        Args:
            request: All documents.
            starts: Index of the first document of each request.

        Raises:
            ConfigurationError: The price is not known.
        """
        cost = estimated(self.price(), request.query, request.documents, request.rank_fields, starts=starts)
        if cost is None:
            raise self.connected().configuration_error(
                f"a budget needs a price, and the price of {self.name} is not known: pass input_cost_per_query= or "
                "input_cost_per_token= (0 if it is free), or prices="
            )
        return cost
