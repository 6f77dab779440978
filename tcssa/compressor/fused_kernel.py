"""The fused kernel: gate, softmax, top k and weighted sums with one look at the features.

`tcssa.compressor.fused` calls it; docs/gpu.md says what it gives and what it gains.

A *segment* is a run of rows of one bag; a program walks through one segment, block by block, and
leaves its sums as one line of a table. `add_segments` adds up the lines of a bag in a fixed order.
There are no atomics, so the same features give the same bits, whatever they are batched with.

Shapes: S segments, M rows of all bags, D features, K slots, T = top_k. KP is K as a power of two.
"""

# Triton's decorators and its language have no types that mypy could follow.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def sum_segments(  # noqa: ANN201, D103
    segments,  # noqa: ANN001  [S, 3] int64: address of the first row, its number of M, rows
    gate,  # noqa: ANN001  [PARTS, KP, D]: the parts that the scaled weights are the sum of
    bias,  # noqa: ANN001  [KP] float32; -inf beyond K
    gate_unit,  # noqa: ANN001  1 / scale of the weights, a power of two
    salience_line,  # noqa: ANN001  [D + 1] float32: w and b of the salience
    weights,  # noqa: ANN001  [M, T] float32, out
    indices,  # noqa: ANN001  [M, T] int64, out
    salience,  # noqa: ANN001  [M] float32, out
    table,  # noqa: ANN001  [S, K * D + 4 * K] float32, out: weighted sums, then four lines of K
    X: tl.constexpr,  # the features' type
    ALIGN: tl.constexpr,  # bytes that every segment's address is a multiple of
    D: tl.constexpr,
    K: tl.constexpr,
    T: tl.constexpr,
    KP: tl.constexpr,
    PARTS: tl.constexpr,
    HEADROOM: tl.constexpr,  # a slot's weights are scaled up to 2^HEADROOM
    BLOCK_ROWS: tl.constexpr,  # rows that are routed at once
    GATE_COLS: tl.constexpr,  # columns of a step of the gate
    POOL_ROWS: tl.constexpr,  # rows of a step of the sums
    POOL_COLS: tl.constexpr,  # columns whose sums a program holds
    GATE_STAGES: tl.constexpr,
    POOL_STAGES: tl.constexpr,
    SALIENT: tl.constexpr,  # whether patches have a salience
    MAX_LOGIT: tl.constexpr,  # of it, either way
):
    slices: tl.constexpr = (D + POOL_COLS - 1) // POOL_COLS
    # the slices of a segment are neighbours: they run together and share what they read in L2
    segment = tl.program_id(0) // slices
    piece = tl.program_id(0) % slices
    x = tl.multiple_of(tl.load(segments + 3 * segment).to(tl.pointer_type(X)), ALIGN)
    first_row = tl.load(segments + 3 * segment + 1)
    rows = tl.load(segments + 3 * segment + 2).to(tl.int32)

    slots = tl.arange(0, KP)
    slot_bias = tl.load(bias + slots)
    pool_cols = piece * POOL_COLS + tl.arange(0, POOL_COLS)
    sums = tl.zeros([KP, POOL_COLS], tl.float32)  # of weights times 2^(HEADROOM + 127 - level)
    level = tl.full([KP], 15, tl.int32)  # exponent, as float32 stores it, of the largest weight
    mass = tl.zeros([KP], tl.float32)
    probs_sum = tl.zeros([KP], tl.float32)
    counts = tl.zeros([KP], tl.float32)
    logsumexp = 0.0

    for begin in range(0, rows, BLOCK_ROWS):
        # 1. the gate: the one time that these rows come from memory
        row = begin + tl.arange(0, BLOCK_ROWS)
        real = row < rows
        logits = tl.zeros([BLOCK_ROWS, KP], tl.float32)
        stress = tl.zeros([BLOCK_ROWS], tl.float32)  # the logit of the salience
        for d in tl.range(0, D, GATE_COLS, num_stages=GATE_STAGES):
            col = d + tl.arange(0, GATE_COLS)
            tile = tl.load(
                x + row[:, None] * D + col[None, :],
                mask=real[:, None] & (col < D)[None, :],
                other=0.0,
            )
            for part in tl.static_range(PARTS):
                w = tl.load(
                    gate + part * KP * D + slots[None, :] * D + col[:, None],
                    mask=(col < D)[:, None],
                    other=0.0,
                )
                logits = tl.dot(tile, w, logits, input_precision="ieee")
            if SALIENT:  # a product of its own: one row more would pad 32 slots to 64
                line = tl.load(salience_line + col, mask=col < D, other=0.0)
                stress += tl.sum(tile.to(tl.float32) * line[None, :], 1)
        logits = logits * gate_unit + slot_bias[None, :]

        # 2. softmax and top k; the lowest slot wins a tie
        top = tl.max(logits, 1)
        exps = tl.exp(logits - top[:, None])
        total = tl.sum(exps, 1)
        probs_sum += tl.sum(tl.where(real[:, None], exps / total[:, None], 0.0), 0)
        logsumexp += tl.sum(tl.where(real, top + tl.log(total), 0.0), 0)
        dense = tl.zeros([BLOCK_ROWS, KP], tl.float32)
        for t in tl.static_range(T):
            best = tl.max(logits, 1)
            chosen = tl.min(tl.where(logits == best[:, None], slots[None, :], KP), 1)
            # of a row with a NaN or an infinity this is NaN, which is how the caller finds it
            weight = tl.exp(best - top) / total
            here = (slots[None, :] == chosen[:, None]) & real[:, None]
            dense = tl.where(here, weight[:, None], dense)
            counts += tl.sum(here.to(tl.float32), 0)
            logits = tl.where(slots[None, :] == chosen[:, None], float("-inf"), logits)
            place = (first_row + row) * T + t
            # every slice of a segment writes the same bits here
            tl.store(weights + place, weight, mask=real)
            tl.store(indices + place, chosen.to(tl.int64), mask=real)
        if SALIENT:
            stress += tl.load(salience_line + D)
            stress = tl.minimum(tl.maximum(stress, -MAX_LOGIT), MAX_LOGIT)
            factor = 2.0 / (1.0 + tl.exp(-stress))
            tl.store(salience + first_row + row, factor, mask=real)
            dense *= factor[:, None]
        mass += tl.sum(dense, 0)

        # 3. a slot's weights are scaled by a power of two, so that their parts stay in half's range
        peak = tl.max(dense, 0).to(tl.int32, bitcast=True) >> 23
        higher = tl.maximum(level, peak)
        sums *= ((127 + level - higher) << 23).to(tl.float32, bitcast=True)[:, None]
        level = higher
        scale = ((HEADROOM + 254 - level) << 23).to(tl.float32, bitcast=True)

        # 4. the sums: the same rows again, now out of the cache
        tl.debug_barrier()  # what one thread wrote as weight another one reads
        for r in tl.range(0, BLOCK_ROWS, POOL_ROWS, num_stages=POOL_STAGES):
            near = begin + r + tl.arange(0, POOL_ROWS)
            there = near < rows
            rest = tl.zeros([KP, POOL_ROWS], tl.float32)
            for t in tl.static_range(T):
                spot = (first_row + near) * T + t
                slot = tl.load(indices + spot, mask=there, other=KP).to(tl.int32)
                share = tl.load(weights + spot, mask=there, other=0.0)
                if SALIENT:
                    share *= tl.load(salience + first_row + near, mask=there, other=0.0)
                rest = tl.where(slots[:, None] == slot[None, :], share[None, :], rest)
            rest *= scale[:, None]
            again = tl.load(
                x + near[:, None] * D + pool_cols[None, :],
                mask=there[:, None] & (pool_cols < D)[None, :],
                other=0.0,
            )
            for _ in tl.static_range(PARTS):
                part_weights = rest.to(X)
                sums = tl.dot(part_weights, again, sums, input_precision="ieee")
                rest -= part_weights.to(tl.float32)
        tl.debug_barrier()

    sums *= ((level - HEADROOM) << 23).to(tl.float32, bitcast=True)[:, None]
    line = table + segment.to(tl.int64) * (K * D + 4 * K)
    tl.store(
        line + slots[:, None] * D + pool_cols[None, :],
        sums,
        mask=(slots < K)[:, None] & (pool_cols < D)[None, :],
    )
    if piece == 0:
        tail = line + K * D + slots
        tl.store(tail, mass, mask=slots < K)
        tl.store(tail + K, probs_sum, mask=slots < K)
        tl.store(tail + 2 * K, counts, mask=slots < K)
        tl.store(tail + 3 * K, tl.where(slots == 0, logsumexp, 0.0), mask=slots < K)


@triton.jit
def add_segments(  # noqa: ANN201, D103
    table,  # noqa: ANN001  [S, LENGTH] float32
    bounds,  # noqa: ANN001  [B + 1] int64: where a bag's lines begin and end
    totals,  # noqa: ANN001  [B, LENGTH] float32, out
    LENGTH: tl.constexpr,
    BLOCK: tl.constexpr,
    DEPTH: tl.constexpr,  # lines that are read at once
):
    bag = tl.program_id(1)
    begin = tl.load(bounds + bag).to(tl.int32)
    end = tl.load(bounds + bag + 1).to(tl.int32)
    col = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], tl.float32)
    for first in range(begin, end, DEPTH):
        line = first + tl.arange(0, DEPTH)
        tile = tl.load(
            table + line[:, None].to(tl.int64) * LENGTH + col[None, :],
            mask=(line < end)[:, None] & (col < LENGTH)[None, :],
            other=0.0,
        )
        total += tl.sum(tile, 0)
    tl.store(totals + bag.to(tl.int64) * LENGTH + col, total, mask=col < LENGTH)
