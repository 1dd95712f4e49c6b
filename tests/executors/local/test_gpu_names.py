import pytest

from app.executors.local.gpu_names import short_gpu_type


@pytest.mark.parametrize(
    ("product_name", "gpu_type"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA A100-SXM4-40GB", "A100"),
        ("NVIDIA A100 80GB PCIe", "A100"),
        ("NVIDIA A100-PCIE-40GB", "A100"),
        ("A100-SXM4-40GB", "A100"),
        ("NVIDIA A30", "A30"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA A800-SXM4-80GB", "A800"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100"),
        ("NVIDIA H100 NVL", "H100"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("NVIDIA B200", "B200"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-32GB", "V100"),
        ("Tesla V100-PCIE-16GB", "V100"),
        ("Tesla V100S-PCIE-32GB", "V100S"),
        ("Tesla P100-PCIE-16GB", "P100"),
        ("Tesla M40 24GB", "M40"),
        ("Tesla K80", "K80"),
        ("GeForce GTX 1080 Ti", "GTX1080TI"),
        ("NVIDIA GeForce RTX 2080 Ti", "RTX2080TI"),
        ("NVIDIA GeForce RTX 3090", "RTX3090"),
        ("NVIDIA GeForce RTX 3060 Laptop GPU", "RTX3060"),
        ("NVIDIA GeForce RTX 4090", "RTX4090"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "RTX4070TISUPER"),
        ("NVIDIA GeForce RTX 5090", "RTX5090"),
        ("NVIDIA RTX A6000", "RTXA6000"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX6000ADA"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTXPRO6000BLACKWELL"),
        ("Quadro RTX 8000", "RTX8000"),
        ("Quadro P5000", "P5000"),
        ("NVIDIA TITAN RTX", "TITANRTX"),
        ("NVIDIA TITAN X (Pascal)", "TITANX"),
        ("TITAN V", "TITANV"),
        ("NVIDIA", "GPU"),
        ("", "GPU"),
    ],
)
def test_a_gpu_is_called_as_people_call_it(product_name: str, gpu_type: str) -> None:
    assert short_gpu_type(product_name) == gpu_type
