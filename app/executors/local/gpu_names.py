"""From the driver's name of a GPU to the short type that people ask for: `NVIDIA A100-SXM4-80GB` is an `A100`."""

import re

BRANDS = frozenset({"NVIDIA", "GEFORCE", "TESLA", "QUADRO"})
WHERE_THE_MODEL_ENDS = re.compile(
    r"\d+\s?GB|SXM\d?|PCIE?|PCI-E|HBM\d\w*|NVL|OAM|MIG|WITH|GENERATION|LAPTOP|MAX-Q|SERVER|WORKSTATION|EDITION"
)
NOT_PLAIN = re.compile(r"[^A-Z0-9]")
UNKNOWN = "GPU"


def short_gpu_type(product_name: str) -> str:
    """Brand, size of the memory, and form are left out; what stays is written together in capitals."""
    words = re.split(r"[\s-]+", re.sub(r"\(.*?\)", " ", product_name).upper())
    model: list[str] = []
    for word in words:
        if word in BRANDS or not word:
            continue
        if WHERE_THE_MODEL_ENDS.fullmatch(word):
            break
        model.append(NOT_PLAIN.sub("", word))
    return "".join(model) or UNKNOWN
