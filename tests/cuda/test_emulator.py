"""The emulator of CUDA blocks: right kernels pass, and each planted mistake is caught and named."""

import re
import subprocess

import pytest

from tests.cuda.compiling import CXX, EMULATED, SANITIZED, compiled

SOURCE = "csrc/tests/emulator.cpp"
RIGHT = [
    "reversal",
    "shuffles",
    "three_dimensions",
    "warp_barrier_orders_a_warp",
    "part_of_a_warp",
    "independent_blocks",
]
CAUGHT = {
    "barrier_for_half_a_block": "divergent barrier.*__syncthreads.*has returned",
    "barriers_in_two_branches": "divergent barrier.*__syncthreads.*__syncthreads",
    "one_thread_loops_once_more": r"divergent barrier: thread \(9, 0, 0\)",
    "shuffle_by_half_a_warp": "divergent barrier.*__shfl_xor_sync.*has returned",
    "shuffle_waits_for_a_barrier": "divergent barrier.*__shfl_xor_sync.*__syncthreads",
    "lanes_disagree_about_the_mask": "divergent barrier.*__syncwarp",
    "mask_names_a_missing_lane": "a lane that does not exist",
    "mask_without_the_own_lane": "leaves out its own lane",
    "shuffle_from_a_lane_outside_the_mask": "reads lane 20, which the mask leaves out",
    "global_read_past_the_end": "out of bounds: element 32 of global array, which has 32",
    "global_write_before_the_start": "out of bounds: element -1 of global array",
    "global_vector_passes_the_end": "out of bounds: element 31 of global array, which has 30",
    "global_null": "out of bounds.*global bias",
    "shared_write_past_the_end": "out of bounds: element 63 of shared tile, which has 63",
    "shared_vector_passes_the_end": "out of bounds: element 7 of shared tile, which has 6",
    "shared_window_is_left": "out of bounds: element 32 of shared first, which has 32",
    "too_much_shared": "too much shared memory: 49156 bytes",
    "too_many_threads": "a block of 1025 threads",
    "no_blocks": "a grid that no GPU can launch",
    "grid_too_large": "a grid that no GPU can launch",
    "global_vector_unaligned": "unaligned access of 16 bytes at element 2 of global array",
    "shared_vector_unaligned": "unaligned access of 16 bytes at byte 12 of shared tile",
    "shared_read_before_a_write": "read of shared memory that nobody wrote: word 1 of tile",
    "shared_kept_from_another_block": "read of shared memory that nobody wrote: word 0 of tile",
    "read_without_a_barrier": "race: .* word .* of tile",
    "overwrite_without_a_barrier": "race: .* word .* of tile",
    "two_writers": "race: writes word 0 of tile, which thread . of the block wrote",
    "shuffle_is_no_barrier": "(race|nobody wrote)",
    "block_order": "results depend on the order of blocks",
}
ONLY_SANITIZED = {
    "register_array_overrun": "(index 4 out of bounds|stack-buffer-overflow)",
    "plain_pointer_overrun": "heap-buffer-overflow",
}


def program(variant):
    """Return the function that runs a case of the C++ program by name."""
    flags = ["-O1", *(SANITIZED if variant == "sanitized" else [])]
    path, _ = compiled([CXX, *EMULATED, *flags, SOURCE], f"emulator-{variant}")
    return lambda name: subprocess.run([path, name], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module", params=["plain", "sanitized"])
def run(request):
    """A build of the emulator, as a function of the name of a case."""
    return program(request.param)


@pytest.mark.parametrize("name", RIGHT)
def test_right_kernels_pass(run, name):
    result = run(name)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("name", CAUGHT)
def test_planted_mistakes_are_caught_and_named(run, name):
    result = run(name)
    assert result.returncode == 3, result.stdout + result.stderr
    assert re.search(CAUGHT[name], result.stdout), result.stdout


@pytest.mark.parametrize("name", ONLY_SANITIZED)
def test_what_escapes_the_views_is_caught_by_the_sanitizers(name):
    result = program("sanitized")(name)
    assert result.returncode not in (0, 3)
    assert re.search(ONLY_SANITIZED[name], result.stderr), result.stderr


def test_every_case_is_expected_to_do_something():
    listed = program("plain")("").stdout.split()
    assert sorted(listed) == sorted([*RIGHT, *CAUGHT, *ONLY_SANITIZED])
