// SPDX-License-Identifier: MIT
/* Keeps team.h with a futex below a short spin. */
#include "team.h"

#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/* About 50 us: longer than the imbalance between threads in one operation, shorter
 * than what a sleeping thread costs others on a small machine. */
#define SPINS 4000

/* What is fetched ahead: half of the cache where the system says how large it is. More
 * would push out what is being used. */
#define AHEAD_UNKNOWN	(128 << 10)
#define AHEAD_MOST	(1 << 20)
#define AHEAD_LINES	4	/* between two looks at the word waited for */

static size_t ahead_bytes(void)
{
	long l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);

	if (l2 <= 0)
		return AHEAD_UNKNOWN;
	return l2 / 2 < AHEAD_MOST ? l2 / 2 : AHEAD_MOST;
}

void linnet_team_init(struct linnet_team *t, unsigned n)
{
	t->n = n;
	t->ahead_bytes = n > 1 ? ahead_bytes() : 0;
	atomic_init(&t->arrived, 0);
	atomic_init(&t->generation, 0);
	atomic_init(&t->sleepers, 0);
	atomic_init(&t->next, 0);
}

/* A few lines; the processor keeps only so many reads waiting, so this takes its time. */
static void fetch(struct linnet_ahead *a)
{
	for (int i = 0; i < AHEAD_LINES && a->bytes; i++) {
		__builtin_prefetch(a->p, 0, 2);
		a->p += 64;
		a->bytes -= a->bytes < 64 ? a->bytes : 64;
	}
}

void linnet_team_wait(_Atomic uint32_t *word, uint32_t old, _Atomic uint32_t *sleepers,
		      struct linnet_ahead *ahead)
{
	for (int i = 0; i < SPINS; i++) {
		if (atomic_load_explicit(word, memory_order_acquire) != old)
			return;
		if (ahead && ahead->bytes)
			fetch(ahead);
		else
			linnet_relax();
	}
	atomic_fetch_add(sleepers, 1);
	while (atomic_load(word) == old)
		syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
	atomic_fetch_sub(sleepers, 1);
}

void linnet_team_wake(_Atomic uint32_t *word, _Atomic uint32_t *sleepers)
{
	/* sequentially consistent against the waiter's increment and re-read */
	if (atomic_load(sleepers))
		syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

bool linnet_team_arrive(struct linnet_team *t, uint32_t *generation)
{
	*generation = atomic_load_explicit(&t->generation, memory_order_relaxed);
	if (atomic_fetch_add_explicit(&t->arrived, 1, memory_order_acq_rel) + 1 < t->n)
		return false;
	atomic_store_explicit(&t->arrived, 0, memory_order_relaxed);
	atomic_store_explicit(&t->next, 0, memory_order_relaxed);
	return true;
}

void linnet_team_release(struct linnet_team *t)
{
	/* nobody else writes it while all the others wait */
	atomic_store(&t->generation,
		     atomic_load_explicit(&t->generation, memory_order_relaxed) + 1);
	linnet_team_wake(&t->generation, &t->sleepers);
}

void linnet_team_await(struct linnet_team *t, uint32_t generation, struct linnet_ahead *ahead)
{
	linnet_team_wait(&t->generation, generation, &t->sleepers, ahead);
}

void linnet_team_barrier(struct linnet_team *t)
{
	uint32_t generation;

	if (linnet_team_arrive(t, &generation))
		linnet_team_release(t);
	else
		linnet_team_await(t, generation, NULL);
}
