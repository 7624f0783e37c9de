"""Settings of networks and models without nesting, as tests vary them one by one."""

from dataclasses import fields, is_dataclass, replace
from inspect import signature
from typing import Any

from models import Classifier, ScaleClassifier
from sefl import networks
from sefl.networks import Network


def made(network: type[Network] | str, /, **flat: Any) -> Any:
    """A network; settings of its trunk, stages and so on by their names alone, those of its head as ``head_cells``."""
    network = getattr(networks, network) if isinstance(network, str) else network
    for name, parameter in signature(network).parameters.items():
        if is_dataclass(parameter.default):
            known = {
                key: field.name for field in fields(parameter.default) for key in _spelled(name, field.name)
            }
            given = {known[key]: flat.pop(key) for key in known.keys() & flat.keys()}
            flat[name] = replace(parameter.default, **given)
    return network(**flat)


def _spelled(name: str, field: str) -> tuple[str, ...]:
    return (
        (f"head_{field}",)
        if name == "head" and field not in ("pooling", "dropout")
        else (field, f"{name}_{field}")
    )


def classifier(network: type[Network] | str, /, **flat: Any) -> Any:
    """A network of the settings, and the model that trains it."""
    training = {
        name: flat.pop(name) for name in ("consistency_weight", "optimizer", "lr_scheduler") & flat.keys()
    }
    inner = made(network, **flat)
    return (Classifier if hasattr(inner, "symmetry_group") else ScaleClassifier)(inner, **training)
