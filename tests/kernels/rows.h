/* SPDX-License-Identifier: MIT */
/*
 * The operations on one row, called alike: by the test of the reference and by checkasm.
 */
#ifndef LINNET_TESTS_KERNELS_ROWS_H
#define LINNET_TESTS_KERNELS_ROWS_H

#include "kernels/kernels.h"

enum row_op { RMS_NORM, RMS_NORM_PLAIN, ADD, SILU, GELU, SOFTCAP, ROPE_NORM, ROPE_NEOX, AXPY };
#define N_ROW_OPS (AXPY + 1)

/* dst[n] of a, b and a number; the rotations turn r of n. AXPY adds to dst. */
static inline void run_row(const struct linnet_kernels *k, enum row_op op, float *dst,
			   const float *a, const float *b, float number, size_t r, size_t n)
{
	switch (op) {
	case RMS_NORM:
		k->rms_norm(dst, a, b, number, n);
		break;
	case RMS_NORM_PLAIN:
		k->rms_norm(dst, a, NULL, number, n);
		break;
	case ADD:
		k->add(dst, a, b, n);
		break;
	case SILU:
		k->glu[LINNET_GLU_SILU](dst, a, b, n);
		break;
	case GELU:
		k->glu[LINNET_GLU_GELU_TANH](dst, a, b, n);
		break;
	case SOFTCAP:
		k->softcap(dst, a, number, n);
		break;
	case ROPE_NORM:
		k->rope[LINNET_ROPE_NORM](dst, a, b, r, n);
		break;
	case ROPE_NEOX:
		k->rope[LINNET_ROPE_NEOX](dst, a, b, r, n);
		break;
	case AXPY:
		k->axpy(dst, number, a, n);
		break;
	}
}

#endif
