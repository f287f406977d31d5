"""The words in which a command states edits of palettes."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import methodcaller

from palgan_jax.errors import UserError
from palgan_jax.palette.colors import WORD, parse_color
from palgan_jax.palette.palette import Palette


@dataclass(frozen=True)
class Edits:
    """Edits that were stated in words, for any palette.

    Attributes:
      text: the words.
      steps: the edits, in their order.
    """

    text: str
    steps: tuple[Callable[[Palette], Palette], ...]

    def __call__(self, palette: Palette) -> Palette:
        """Returns the edited palette."""
        for step in self.steps:
            palette = step(palette)
        return palette


def parse_edits(text: str) -> Edits:
    """Reads edits: `shift hue=20 chroma=1.2 temperature=5; boost #c04040 2; remove teal 20`.

    `boost` takes a color, a factor and, if wanted, a spread; `remove` a color and, if wanted, a spread. Raises
    UserError for anything else.
    """
    steps = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        verb, *words = WORD.findall(part)
        if verb == "shift" and words:
            numbers = dict(_named_number(word, part) for word in words)
            steps.append(methodcaller("shift", **numbers))
        elif (verb == "boost" and len(words) in (2, 3)) or (verb == "remove" and len(words) in (1, 2)):
            parse_color(words[0])
            arguments = (words[0], *(_number(word, part) for word in words[1:]))
            steps.append(methodcaller(verb, *arguments))
        else:
            raise UserError(
                f"{part!r} is no edit: write `shift hue=20 chroma=1.2 temperature=5`, `boost #c04040 2` or "
                "`remove #5a7a3a`, with semicolons between several."
            )
    if not steps:
        raise UserError("there is no edit in an empty text: write one, such as `shift hue=20`.")
    edits = Edits(text, tuple(steps))
    edits(Palette.from_colors(["gray"]))  # numbers out of their range are told before any work
    return edits


def _named_number(word: str, part: str) -> tuple[str, float]:
    name, _, value = word.partition("=")
    if name not in ("hue", "chroma", "temperature"):
        raise UserError(f"{word!r} in {part!r} is unknown: a shift has hue=, chroma= and temperature=.")
    return name, _number(value, part)


def _number(text: str, part: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{text!r} in {part!r} is no number: write one, such as 1.5.") from None
