"""What a person asks for."""

from dataclasses import replace

from app.domain.job_request import JobRequest

REQUEST = JobRequest("train", "A100", 2, 3600, "python train.py # ی‌ک", data_location="/data")


def test_a_digest_stands_for_all_that_was_asked_for_and_stays() -> None:
    """Approvals are kept for as long as their jobs wait: no release may come to another digest of the same request."""
    assert REQUEST.digest.hex() == "f88591bd96f61ec20a06cf429dec4f166e54a4c8685c0e46ab4ef9755f0c1709"
    others = {"name": "t", "gpu_type": "V100", "num_gpus": 1, "time_limit_seconds": 60, "command": "x"}
    others |= {"data_location": None, "is_sensitive": True, "justification": "for the thesis"}
    assert len({REQUEST.digest, *(replace(REQUEST, **{name: value}).digest for name, value in others.items())}) == 9
