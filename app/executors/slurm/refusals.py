"""What `sbatch` says when it fails: a refusal by Slurm, which is final, or trouble, after which nothing is known."""

import re

_PREFIX = re.compile(r"^sbatch: (?:error: )?")
_SUBMISSION_FAILED = "Batch job submission failed: "
_UNSPECIFIED = "Unspecified error"
"""What a site's own filter (job_submit.lua) ends with; its own words stand in the lines before."""
_REFUSALS = (
    "Access/permission denied",
    "Invalid account or account/partition combination specified",
    "Invalid feature specification",
    "Invalid generic resource",
    "Invalid gres specification",
    "Invalid node count specification",
    "Invalid partition name specified",
    "Invalid qos specification",
    "Invalid user id",
    "Invalid wckey specification",
    "Job cannot be submitted without the current user",
    "Job dependency problem",
    "Job violates accounting/QOS policy",
    "Memory specification can not be satisfied",
    "More processors requested than permitted",
    "Node count specification invalid",
    "Requested node configuration is not available",
    "Requested partition configuration not available now",
    "Requested time limit is invalid",
    "Unable to allocate resources: Invalid",
    "User's group not permitted to use this partition",
    "User not found on host",
    "invalid partition specified",
)


_NOT_AN_OPTION = re.compile(r"(?:unrecognized|ambiguous|invalid) option\b|option .* requires an argument|Invalid --\S+")
"""What sbatch says of its own command line, before it has asked anybody."""


def refusal(error_output: str) -> str | None:
    """Slurm's words if it refused this job for good; None: this proves nothing."""
    lines = [_PREFIX.sub("", line.strip()) for line in error_output.splitlines() if line.strip()]
    words = [line.removeprefix(_SUBMISSION_FAILED) for line in lines]
    has_own_words = f"{_SUBMISSION_FAILED}{_UNSPECIFIED}" in lines and len(lines) > 1
    is_refused = any(line.startswith(_REFUSALS) or _NOT_AN_OPTION.match(line) for line in words)
    if not has_own_words and not is_refused:
        return None
    told = dict.fromkeys(line for line in words if line != _UNSPECIFIED)
    return "; ".join(told).rstrip(".")
