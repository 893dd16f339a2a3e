/* SPDX-License-Identifier: MIT */
/*
 * Execution of a validated stream by a team of threads. Every thread of the team
 * calls linnet_exec_run() with the same struct linnet_exec; the results do not
 * depend on how many there are.
 */
#ifndef LINNET_KERNELS_EXEC_H
#define LINNET_KERNELS_EXEC_H

#include "kernels.h"
#include "stream.h"
#include "team.h"

struct linnet_exec {
	const struct linnet_kernels *k;
	const struct linnet_stream *s;
	struct linnet_team *team;
	uint32_t params[LINNET_MAX_PARAMS];
	char *base[LINNET_MAX_SLOTS];		/* where each slot is bound */
	char *scratch;				/* linnet_exec_scratch() bytes, 64-byte aligned */
	size_t scratch_bytes;

	/* Called by thread 0 between pieces of work, when not NULL: keeps other
	 * things (I/O) going. */
	void (*poll)(void *ctx);
	void *poll_ctx;
	/* When not NULL and not zero, the run ends with -EINTR at the next piece of work. */
	const _Atomic int *interrupt;

	_Atomic uint64_t failure;		/* see linnet_exec_result() */
	/* set when the operations before the first shared one are done */
	_Atomic uint32_t begun, begun_sleepers;
};

/* Scratch for any parameters within their maxima. */
size_t linnet_exec_scratch(const struct linnet_stream *s, const struct linnet_kernels *k,
			   unsigned n_threads);

/*
 * About how many multiplications the stream takes for these parameters, so that an
 * engine can tell work that is worth sharing from work that is not.
 */
uint64_t linnet_exec_work(const struct linnet_stream *s, const uint32_t *params);

/*
 * Prepare x after its fields up to interrupt are set: -EINVAL for a parameter over
 * its maximum. Then linnet_exec_run() on every thread of the team.
 */
int linnet_exec_begin(struct linnet_exec *x);
void linnet_exec_run(struct linnet_exec *x, unsigned thread);

/*
 * When all threads have returned: 0, or -errno and the operation that failed.
 * -ERANGE: an id, page or expert in memory is out of range; -EINTR: interrupted.
 */
int linnet_exec_result(struct linnet_exec *x, uint32_t *op);

#endif
