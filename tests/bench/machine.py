"""What a benchmark ran on, to be told with its numbers."""

from pathlib import Path


def processor() -> str:
    """Name the processor, and what it computes half precision with."""
    text = Path("/proc/cpuinfo").read_text()
    facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    flags = facts.get("flags", "").split()
    half = [flag for flag in ("amx_bf16", "avx512_bf16") if flag in flags]
    return f"{facts.get('model name', 'processor')} ({', '.join(half) or 'no bfloat16'})"
