"""Languages by their tags (BCP 47): `de`, `pt-BR`; `zh_CN`, as catalogs write them; `deu`, as many corpora do."""

from __future__ import annotations

from collections.abc import Iterable

# Source and target language; None for one that nobody told.
Languages = tuple[str | None, str | None]

# ISO 639-1, and before it the codes of ISO 639-3 and of ISO 639-2 that mean the same.
_CODES = """
aar aa, abk ab, afr af, aka ak, amh am, ara arb ar, asm as, ava av, aym ay, aze azj az, bak ba, bel be, bul bg, ben bn,
bod tib bo, bre br, bos bs, cat ca, che ce, cos co, ces cze cs, chv cv, cym wel cy, dan da, deu ger de, div dv, dzo dz,
ewe ee, ell gre el, eng en, epo eo, spa es, est ekk et, eus baq eu, fas per pes fa, ful ff, fin fi, fij fj, fao fo,
fra fre fr, fry fy, gle ga, gla gd, glg gl, grn gn, guj gu, glv gv, hau ha, heb he, hin hi, hrv hr, hat ht, hun hu,
hye arm hy, ina ia, ind id, ibo ig, isl ice is, ita it, iku iu, jpn ja, jav jv, kat geo ka, kon kg, kik ki, kaz kk,
kal kl, khm km, kan kn, kor ko, kas ks, kur ku, kom kv, cor kw, kir ky, lat la, ltz lb, lug lg, lin ln, lao lo, lit lt,
lav lvs lv, mlg plt mg, mri mao mi, mkd mac mk, mal ml, mon khk mn, mar mr, msa may zsm ms, mlt mt, mya bur my, nob nb,
nep npi ne, nld dut nl, nno nn, nor no, nav nv, nya ny, oci oc, orm om, ori ory or, oss os, pan pa, pol pl, pus pbt ps,
por pt, que qu, roh rm, run rn, ron rum ro, rus ru, kin rw, san sa, srd sc, snd sd, sme se, sag sg, sin si, slk slo sk,
slv sl, smo sm, sna sn, som so, sqi alb als sq, srp sr, ssw ss, sot st, sun su, swe sv, swa swh sw, tam ta, tel te,
tgk tg, tha th, tir ti, tuk tk, tgl tl, tsn tn, ton to, tur tr, tso ts, tat tt, twi tw, tah ty, uig ug, ukr uk, urd ur,
uzb uzn uz, ven ve, vie vi, wol wo, xho xh, yid ydd yi, yor yo, zha za, zho chi cmn zh, zul zu
"""


def _read_codes() -> dict[str, str]:
    groups = [group.split() for group in _CODES.split(",")]
    return {long: short for *longs, short in groups for long in longs}


_SHORT_CODES = _read_codes()


def primary_language(tag: str) -> str:
    """Return the language of a tag, of two letters if it has a code of so few: `zh` for `zh_CN`, `de` for `deu`."""
    return _split(tag)[0]


def is_same_language(one: str | None, other: str | None) -> bool:
    """Return whether two tags may name one language: `de` and `de-AT`, `de` and `deu`, or one is not known."""
    if one is None or other is None:
        return True
    parts = [_split(tag) for tag in (one, other)]
    short = min(map(len, parts))
    return parts[0][:short] == parts[1][:short]


def choose_language(tag: str, known: Iterable[str]) -> str | None:
    """Return which of the known tags another one means: the same, else the only one that may be; None for none."""
    known = list(dict.fromkeys(known))
    fitting = [tag] if tag in known else [other for other in known if is_same_language(tag, other)]
    return fitting[0] if len(fitting) == 1 else None


def is_same_direction(one: Languages, other: Languages) -> bool:
    """Return whether two directions may be one; see `is_same_language`."""
    return all(map(is_same_language, one, other))


def show_direction(direction: Languages) -> str:
    """Return two languages as a person reads them: `en to de`, `? to de`."""
    return f"{direction[0] or '?'} to {direction[1] or '?'}"


def _split(tag: str) -> list[str]:
    language, *rest = tag.lower().replace("_", "-").split("-")
    return [_SHORT_CODES.get(language, language), *rest]
