"""Heuristics of prompt injection: patterns of what attacks say and how they hide it, each with a score.

The scores of all heuristics that a message matches are added; from the threshold on it counts as an injection. They
find what is well known and written plainly, in English and a few phrases of other languages; docs/how-to/guardrails.md
has how much of public attacks they find, and how much of harmless prompts they refuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .rules import compile_pattern
from .views import View, views

ANY = r"[\w ,'\x{2019}\"*-]"
_OLD = (
    r"(?:previous|prior|above|earlier|preceding|former|past|initial|original|existing|system|your|all|any"
    r"|these|those|given)"
)
_ORDERS = (
    r"(?:instruct\w*|prompts?|rules?|directions?|directives?|guidelines?|commands?|orders?|context"
    r"|messages?|polic(?:y|ies)"
    r"|programming|training|guardrails?|restrictions?|tasks?|requests?|texts?|content|configuration|constraints?)"
)
_DROP = (
    r"(?:ignor\w*|disregard\w*|forget|forgetting|overrid\w*|bypass\w*|neglect|drop|discard|skip|cancel"
    r"|erase|set aside)"
)
_FREE = (
    r"(?:un(?:restricted|filtered|censored|limited|bound|aligned|ethical|hinged|chained)|amoral|immoral"
    r"|evil|malicious"
    r"|rogue|jailbroken|lawless|free of (?:all |any )?(?:restrictions|rules|limits|filters))"
)
_PROMPT = (
    r"(?:(?:system|hidden|initial|secret|original|developer|internal|confidential|previous|above)[ -]?"
    r"(?:prompts?|instructions?|messages?|rules?|guidelines?|directives?|configuration|polic(?:y|ies))"
    r"|(?:your|the|all) (?:exact |full |complete |own |prior )?(?:prompt|instructions|guidelines"
    r"|directives|initialization)"
    r"|(?:words|text|everything|all|content|conversation|lines?) (?:(?:written|said|you (?:see|were given)) )?above)"
)
_SHOW = (
    r"(?:reveal|print|repeat|show|output|display|tell|leak|expose|disclose|dump|recite|reproduce"
    r"|write (?:out|down)|echo"
    r"|translate|summari[sz]e|spell|encode|return|what (?:is|are|was|were))"
)


@dataclass(frozen=True, slots=True)
class Heuristic:
    name: str
    score: float
    about: str
    patterns: tuple[Any, ...]

    def matches(self, view: str) -> bool:
        return any(pattern.search(view) is not None for pattern in self.patterns)


def _heuristic(name: str, score: float, about: str, *patterns: str) -> Heuristic:
    return Heuristic(name, score, about, tuple(compile_pattern(name, f"(?is){pattern}") for pattern in patterns))


HEURISTICS: tuple[Heuristic, ...] = (
    _heuristic(
        "override",
        1.0,
        "instructions to ignore earlier ones",
        rf"\b{_DROP}\b{ANY}{{0,40}}\b{_OLD}\b{ANY}{{0,40}}\b{_ORDERS}\b",
        rf"\b(?:do not|don'?t|never|stop) (?:follow|obey|comply with|adhere to|listen to)\w*{ANY}{{0,24}}"
        rf"\b{_OLD}\b{ANY}{{0,24}}\b{_ORDERS}\b",
        rf"\b(?:forget|ignore|disregard) (?:about )?(?:everything|all|anything|what(?:ever)?)"
        rf"\b{ANY}{{0,24}}\b(?:above|before|previously|earlier|so far|said|told|learned)\b",
        r"\bnew (?:system )?(?:instructions?|rules|directives?) ?(?:[:=]|are|follow|override|begin)",
        r"\b(?:vergiss|ignoriere?n?|missachte)\b.{0,40}\b(?:anweisung(?:en)?|instruktion(?:en)?|befehle?"
        r"|regeln?|vorgaben?)\b",
        r"\b(?:ignore[zr]?|oublie[zr]?)\b.{0,40}\b(?:instructions?|consignes?|règles?|directives?)\b",
        r"\b(?:ignora|olvida|descarta)\w*\b.{0,40}\b(?:instrucciones|órdenes|reglas|istruzioni|regole"
        r"|instruções|regras)\b",
        r"(?:игнорируй|забудь)\w*.{0,40}(?:инструкци|указани|правил)",
        r"(?:忽略|无视|忘记|無視).{0,16}(?:指令|指示|提示|规则|命令)",
    ),
    _heuristic(
        "persona",
        0.6,
        "a persona without limits",
        rf"\b(?:you are|you're|act(?:ing)? as|pretend\w*|role-?play\w*|imagine|simulat\w+|become"
        rf"|play the (?:role|part)|behave as|respond as|answer as)\b.{{0,80}}\b{_FREE}\b",
        r"\b(?:from now on|starting now|henceforth)\b.{0,24}\byou (?:are|will|must|shall|have|can)\b",
        r"\byou are (?:now|going to (?:be|act|pretend|play))\b",
        r"\bstay in character\b|\bimmerse (?:yourself|into)\b|\b(?:in|into) the role of\b.{0,80}"
        r"\b(?:without|no|any|evil|immoral)\b",
    ),
    _heuristic(
        "jailbreak",
        1.0,
        "names and phrases of known jailbreaks",
        r"\bdo anything now\b|\bDAN (?:mode|prompt|\d)|\b(?:as|be|called|named|is|like|for) DAN\b|\bDAN\b"
        r".{0,40}\bstands for\b|\bjail-?br(?:eak|oken)",
        r"\b(?:developer|debug|god|admin|root|maintenance|sudo|opposite|unrestricted|dan|chaos|evil"
        r"|jailbreak)[ -]?mode\b.{0,40}\b(?:enabl|activat|on\b|engage|output|enter|switch|unlock|response)",
        r"\b(?:enable|activate|enter|engage|switch (?:in)?to|simulate|with)\b.{0,24}\b(?:developer|debug"
        r"|god|dan|opposite|unrestricted)[ -]?mode\b",
        r"\b(?:STAN|DUDE|AIM|UCAR|BetterDAN|EvilBOT|Mongo Tom|ChadGPT|Machiavelli(?:GPT)?)\b.{0,60}"
        r"\b(?:stands for|acronym|mode|always|will|can|unethical|immoral|bot|ai)\b",
        r"\bGODMODE\b|\bL1B3RT4S\b|\bvq_\d|\blove pliny\b",
    ),
    _heuristic(
        "noLimits",
        0.6,
        "freedom from rules, filters or ethics",
        rf"\b(?:without|no|free (?:of|from)|not? (?:bound|restricted|limited|constrained|governed) by"
        rf"|bypass\w*|ignor\w+|disabl\w+|remov\w+|lack\w*|devoid of|beyond|break\w* free|regardless of"
        rf"|outside of|disregard\w*)\b{ANY}{{0,40}}\b(?:restrictions?|limitations?|filters?|censorship"
        rf"|ethic\w*|moral\w*|guidelines|safety|safeguards?|content polic\w+|legality|boundaries|rules"
        rf"|guardrails)\b",
        r"\b(?:does|do|has|have|will|would|is|are)(?: not|n'?t) (?:have |care about |follow |abide by "
        r"|bound by |adhere to |consider )?(?:any |the |to )?(?:ethic\w*|moral\w*|openai|safety|content"
        r"|guideline\w*|legal\w*) ?(?:polic\w+|guideline\w*|rules?|limits?|concerns?|or)?",
    ),
    _heuristic(
        "noRefusal",
        0.5,
        "an order never to refuse or to warn",
        r"\b(?:never|must not|cannot|can'?t|do not|don'?t|won'?t|will not|may not|not allowed to"
        r"|without) (?:ever )?(?:refus\w*|reject\w*|declin\w*|deny|say (?:no|that you can'?t|you can'?t)"
        r"|apologi\w+|warn\w*|disclaim\w*|break\w* character|(?:say|use)\w* (?:the )?(?:words?"
        r"|phrases?)? ?[\"'“](?:sorry|i can|i'?m sorry|as an ai|unfortunately))",
        r"\b(?:no|without|any|omit|skip|add|include|avoid)\b.{0,16}\b(?:warnings?|disclaimers?|apolog(?:y"
        r"|ies)|moraliz\w+|lectur\w+|refusals?)\b",
        r"\b(?:start|begin|respond|reply)\w*\b.{0,24}\b(?:with|by)\b.{0,16}[\"'“]?\b(?:sure|absolutely"
        r"|of course|certainly|yes)\b,? ?(?:here|i)\b",
    ),
    _heuristic(
        "promptLeak",
        1.0,
        "a request for the system prompt",
        rf"\b{_SHOW}\b{ANY}{{0,40}}\b{_PROMPT}(?:\W|$)",
        r"\brepeat\b.{0,24}\b(?:above|verbatim|from the (?:start|beginning)|starting (?:with|from))\b",
        r"\b(?:start|begin)\w* with (?:the (?:words?|phrase) )?[\"'“]you are\b",
    ),
    _heuristic(
        "fakeRoles",
        0.7,
        "marks of roles and of the end of a prompt inside of a text",
        r"<\|(?:im_start|im_end|im_sep|system|user|assistant|end|endoftext|eot_id|start_header_id|begin_of_text)\|>",
        r"\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|</?(?:system|sys_prompt|system_prompt|admin"
        r"|developer)(?:[ _-]\w+)?>",
        r"(?:^|\n)\s*(?:#{1,4}|\*{2}|\[)? ?(?:system|assistant|new instructions?|admin(?:istrator)?"
        r"|developer)(?: (?:prompt|message|override|note|command|instructions?))?(?:\*{2}|\])? ?:",
        r"(?:^|\n)\s*[-=#*]{3,} ?(?:end|begin|start|stop) (?:of )?(?:the )?(?:system|user|prompt|context"
        r"|instructions?|document|input|conversation|message|response|new)\b",
        r"\b(?:end of (?:the )?(?:prompt|system prompt|instructions|context))\b",
    ),
    _heuristic(
        "encoded",
        0.6,
        "an order to decode a text and to follow it",
        r"\b(?:decod\w+|decrypt\w*|decipher\w*|unscrambl\w+|base ?64|rot-?13|hex|morse|leet\w*|cipher"
        r"|caesar|reversed?)\b.{0,120}\b(?:and|then)\b.{0,24}\b(?:follow|execut\w+|obey|run|respond|answer"
        r"|reply|comply|do|act|perform)\b",
        r"\b(?:respond|answer|reply|write|speak)\w*\b.{0,24}\b(?:only )?(?:in|using|with) (?:base ?64"
        r"|rot-?13|morse|leet ?speak|hex|pig latin|cipher)",
    ),
    _heuristic(
        "exfiltration",
        0.7,
        "an order to send data to an address",
        r"!\[[^\]]*\]\(https?://[^)\s]*(?:\{|\[|<|=\$|%s|\bdata=|\bq=|\bprompt=|\bsecret)",
        r"\b(?:send|post|forward|transmit|upload|e-?mail|append|include|exfiltrat\w+|leak)\b.{0,80}"
        r"\b(?:conversation|chat history|credentials?|passwords?|api[ -]?keys?|secrets?|tokens?"
        r"|user'?s? (?:data|information)|all (?:data|e-?mails|messages|files))\b.{0,80}(?:\bto\b|https?://"
        r"|@)",
    ),
)
HIDDEN = "hidden"
MIXED = "mixedScripts"
FOUND_IN_CHARACTERS = {
    HIDDEN: (1.0, "text in invisible characters: tags, runs of variation selectors, overriding bidi controls"),
    MIXED: (0.5, "words of Latin letters with look-alikes of other alphabets among them"),
}
NAMES = (*(heuristic.name for heuristic in HEURISTICS), *FOUND_IN_CHARACTERS)
_OVERRIDES = re.compile("[\u202d\u202e]|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4}")
_TAGS = re.compile("[\U000e0020-\U000e007e]")
_FLAGS = re.compile("\U0001f3f4[\U000e0020-\U000e007f]+")
_WORD = re.compile(r"\w+")
_MIXED = re.compile("[A-Za-z][\u0370-\u04ff]+[A-Za-z]|[\u0370-\u04ff][A-Za-z]+[\u0370-\u04ff]")
_MANY_MIXED = 2
"""Words with mixed scripts in a message: one may be a name, or a sign of mathematics."""


def scores(text: str, off: Iterable[str] = ()) -> dict[str, float]:
    """The scores of the heuristics that the text matches, by their names."""
    skipped = {*off}
    seen = views(text)
    found = dict(_pattern_scores(seen, skipped))
    if HIDDEN not in skipped and (_OVERRIDES.search(text) or _TAGS.search(_FLAGS.sub("", text))):
        found[HIDDEN] = FOUND_IN_CHARACTERS[HIDDEN][0]
    if MIXED not in skipped and not text.isascii() and mixed_words(text) >= _MANY_MIXED:
        found[MIXED] = FOUND_IN_CHARACTERS[MIXED][0]
    return found


def mixed_words(text: str) -> int:
    """How many words have letters of two alphabets in turn."""
    return sum(_MIXED.search(word) is not None for word in _WORD.findall(text))


def _pattern_scores(seen: tuple[View, ...], skipped: set[str]) -> Iterator[tuple[str, float]]:
    for heuristic in HEURISTICS:
        if heuristic.name not in skipped and any(heuristic.matches(view.text) for view in seen):
            yield heuristic.name, heuristic.score
