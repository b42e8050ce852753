"""The KV cache as vLLM divides it: blocks of tokens, drawn from one pool by groups of layers (pure).

Source: vLLM 0.31.0, `v1/kv_cache_interface.py` (what a request keeps) and `v1/core/kv_cache_utils.py`
(`_get_kv_cache_groups_uniform_page_size`, `get_max_concurrency_for_kv_cache_config`,
`_max_memory_usage_bytes_from_groups`); for these kinds of layers 0.32.0 computes the same. Every figure is that of
one device.
"""

from __future__ import annotations

from dataclasses import dataclass

from stack.models.sizing_layers import CacheLayers

# From here on the tail of the larger kind of layers is not cut into groups of the smaller kind's size.
_PADDING_RATIO = 1.5


@dataclass(frozen=True)
class CachePool:
    """How one device's cache is divided.

    Attributes:
        block_tokens: Tokens of a block.
        block_bytes: What one block of the pool takes over all layers that share it.
        full_groups: Groups of layers that keep every token; each takes its own blocks.
        windowed_groups: Groups of layers that keep a window.
        window_tokens: The most tokens that a windowed group keeps of one request: its window and what is in
            flight.
        token_bytes: What one more token takes where no window is full yet.
    """

    block_tokens: int
    block_bytes: int
    full_groups: int
    windowed_groups: int
    window_tokens: int
    token_bytes: int

    def count_blocks(self, tokens: int) -> int:
        """Give the blocks that one request of so many tokens takes."""
        full = -(-tokens // self.block_tokens)
        # A window need not begin at the beginning of a block, hence one more.
        windowed = -(-min(self.window_tokens, tokens) // self.block_tokens) + 1
        return self.full_groups * full + self.windowed_groups * windowed

    def compute_request_bytes(self, tokens: int) -> int:
        """Give the bytes that one request of so many tokens takes."""
        return self.count_blocks(tokens) * self.block_bytes

    def find_largest_context(self, pool_bytes: int, limit: int) -> int:
        """Give the longest request, in tokens up to `limit`, that a pool of this size serves; 0 for none.

        vLLM keeps one block of the pool for itself, and plans without it.
        """
        usable = pool_bytes - self.block_bytes
        low, high = 0, limit
        while low < high:
            middle = (low + high + 1) // 2
            if self.compute_request_bytes(middle) <= usable:
                low = middle
            else:
                high = middle - 1
        return low

    def compute_concurrency(self, pool_bytes: int, tokens: int) -> float:
        """Give how many requests of so many tokens a pool of this size holds at once."""
        return (pool_bytes // self.block_bytes) / self.count_blocks(tokens) if pool_bytes > 0 else 0.0

    def count_tokens(self, pool_bytes: int, tokens: int) -> int:
        """Give the tokens that a pool of this size holds, as the engine's log counts them."""
        return int(self.compute_concurrency(pool_bytes, tokens) * tokens)


def build_cache_pool(
    layers: CacheLayers,
    *,
    element_bytes: int,
    block_tokens: int,
    in_flight_tokens: int,
    tensor_parallel: int = 1,
    is_hybrid_disabled: bool = False,
) -> CachePool:
    """Divide a model's cache.

    Args:
        layers: The layers that keep a cache.
        element_bytes: Size of one element in the cache.
        block_tokens: Tokens of a block.
        in_flight_tokens: Tokens that may be scheduled and not yet settled.
        tensor_parallel: Devices that share the heads; each has at least one, and a latent cache whole.
        is_hybrid_disabled: Whether layers with a window keep every token beside layers that do.
    """
    heads = 1 if layers.is_latent else max(1, layers.heads // tensor_parallel)
    token_bytes = heads * layers.head_size * element_bytes * (1 if layers.is_latent else 2)
    full, windowed = layers.full, layers.windowed
    if full and windowed and is_hybrid_disabled:
        full, windowed = full + windowed, 0
    group_layers = _choose_group_layers(full, windowed)
    full_groups, windowed_groups = -(-full // group_layers), -(-windowed // group_layers)
    widest = max(-(-full // max(1, full_groups)), -(-windowed // max(1, windowed_groups)))
    return CachePool(
        block_tokens=block_tokens,
        block_bytes=widest * block_tokens * token_bytes,
        full_groups=full_groups,
        windowed_groups=windowed_groups,
        window_tokens=max(0, layers.window - 1) + in_flight_tokens,
        token_bytes=(full_groups + windowed_groups) * widest * token_bytes,
    )


def _choose_group_layers(full: int, windowed: int) -> int:
    fewest, most = sorted((full, windowed))
    if fewest == 0 or most < fewest * _PADDING_RATIO:
        return max(1, most)
    return fewest
