/* SPDX-License-Identifier: MIT */
/*
 * The threads that execute one stream together: a barrier between the phases of
 * operations, and a shared counter from which they claim pieces of work. Who makes
 * the threads is the engine's affair.
 */
#ifndef LINNET_KERNELS_TEAM_H
#define LINNET_KERNELS_TEAM_H

#include <stdatomic.h>
#include <stdint.h>

struct linnet_team {
	unsigned n;			/* threads */
	_Alignas(64) _Atomic uint32_t arrived;
	_Alignas(64) _Atomic uint32_t generation;
	_Atomic uint32_t sleepers;
	_Alignas(64) _Atomic uint64_t next;	/* piece of work to be claimed */
};

void linnet_team_init(struct linnet_team *t, unsigned n);

/*
 * Wait for all threads of the team; then all claims start at 0 again. Spins for a
 * short time, then sleeps.
 */
void linnet_team_barrier(struct linnet_team *t);

/* The number of a piece of work that nobody else gets before the next barrier. */
static inline uint64_t linnet_team_claim(struct linnet_team *t)
{
	return atomic_fetch_add_explicit(&t->next, 1, memory_order_relaxed);
}

/* Wait until *word is not `old` any more: spin, then sleep. wake() ends it. */
void linnet_team_wait(_Atomic uint32_t *word, uint32_t old, _Atomic uint32_t *sleepers);
void linnet_team_wake(_Atomic uint32_t *word, _Atomic uint32_t *sleepers);

#endif
