/* SPDX-License-Identifier: MIT */
/*
 * The threads that execute one stream together: a barrier between the phases of
 * operations, and a shared counter from which they claim pieces of work. Who makes
 * the threads is the engine's affair.
 */
#ifndef LINNET_KERNELS_TEAM_H
#define LINNET_KERNELS_TEAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Between two looks at a word that another thread, or a guest, will change. */
static inline void linnet_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

struct linnet_team {
	unsigned n;			/* threads */
	size_t ahead_bytes;		/* that a thread may fetch ahead of its work */
	_Alignas(64) _Atomic uint32_t arrived;
	_Alignas(64) _Atomic uint32_t generation;
	_Atomic uint32_t sleepers;
	_Alignas(64) _Atomic uint64_t next;	/* piece of work to be claimed */
};

void linnet_team_init(struct linnet_team *t, unsigned n);

/*
 * Memory that the caller will read soon. While it waits it fetches from there into its
 * second-level cache; what it has fetched is taken off.
 */
struct linnet_ahead {
	const char *p;
	size_t bytes;
};

/*
 * Wait for all threads of the team; then all claims start at 0 again. Spins for a
 * short time, then sleeps.
 */
void linnet_team_barrier(struct linnet_team *t);

/*
 * A barrier in two halves: arrive() is true for the thread that comes last, which may do
 * what has to be done alone before it calls release(). The others call await() with the
 * generation that arrive() gave them.
 */
bool linnet_team_arrive(struct linnet_team *t, uint32_t *generation);
void linnet_team_release(struct linnet_team *t);
void linnet_team_await(struct linnet_team *t, uint32_t generation, struct linnet_ahead *ahead);

/* The number of a piece of work that nobody else gets before the next barrier. */
static inline uint64_t linnet_team_claim(struct linnet_team *t)
{
	return atomic_fetch_add_explicit(&t->next, 1, memory_order_relaxed);
}

/* Wait until *word is not `old` any more: spin, then sleep. wake() ends it. ahead: or NULL. */
void linnet_team_wait(_Atomic uint32_t *word, uint32_t old, _Atomic uint32_t *sleepers,
		      struct linnet_ahead *ahead);
void linnet_team_wake(_Atomic uint32_t *word, _Atomic uint32_t *sleepers);

#endif
