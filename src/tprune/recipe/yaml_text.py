"""YAML that strangers wrote: read safely, and refused where it is ambiguous or out to harm."""

from __future__ import annotations

from typing import Any

import yaml

from tprune.support.errors import InputError


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, but a key given twice is an error, and so is an alias.

    Which of two keys counts would be a matter of luck. A recipe needs no alias, and a few lines of them make gigabytes.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML has no types
            raise yaml.constructor.ConstructorError(
                None, None, f"alias *{event.anchor}; write the value out", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} is given twice", key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


def read_yaml(text: str, where: str) -> Any:
    """Reads YAML text. Raises `InputError` naming `where` it stood."""
    try:
        return yaml.load(text, _Loader)  # a safe loader
    except yaml.YAMLError as error:
        said = " ".join(str(error).replace('"<unicode string>", ', "").split())
        raise InputError(f"{where}: no valid YAML ({said[:300]})") from None
    except (RecursionError, ValueError) as error:  # nested a thousand deep; a date that is none
        raise InputError(f"{where}: no valid YAML ({type(error).__name__}: {str(error)[:200]})") from None
