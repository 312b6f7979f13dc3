"""The kernels' table, by hand, and that each kernel learns."""

from tests.bench.kernels import ARMS, KERNELS, RIVER, Kernel, measure, table


def test_a_ratio_is_of_the_same_round() -> None:
    kernels = [Kernel("ours", 5, [2.0, 6.0, 3.0]), Kernel(RIVER, 5, [4.0, 4.0, 6.0])]
    assert table(kernels)[2:] == [
        "| 5 | ours | 3.00 | 0.50 | 0.50 | 1.50 |",
        f"| 5 | {RIVER} | 4.00 | 1.00 | 1.00 | 1.00 |",
    ]


def test_every_kernel_is_measured_once_a_round() -> None:
    kernels = measure(rounds=1)
    assert [(kernel.arms, kernel.name, len(kernel.micros)) for kernel in kernels] == [
        (arms, name, 1) for arms in ARMS for name in KERNELS
    ]
