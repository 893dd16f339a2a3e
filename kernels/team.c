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

static inline void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

void linnet_team_init(struct linnet_team *t, unsigned n)
{
	t->n = n;
	atomic_init(&t->arrived, 0);
	atomic_init(&t->generation, 0);
	atomic_init(&t->sleepers, 0);
	atomic_init(&t->next, 0);
}

void linnet_team_wait(_Atomic uint32_t *word, uint32_t old, _Atomic uint32_t *sleepers)
{
	for (int i = 0; i < SPINS; i++) {
		if (atomic_load_explicit(word, memory_order_acquire) != old)
			return;
		relax();
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

void linnet_team_barrier(struct linnet_team *t)
{
	uint32_t gen = atomic_load_explicit(&t->generation, memory_order_relaxed);

	if (atomic_fetch_add_explicit(&t->arrived, 1, memory_order_acq_rel) + 1 == t->n) {
		atomic_store_explicit(&t->arrived, 0, memory_order_relaxed);
		atomic_store_explicit(&t->next, 0, memory_order_relaxed);
		atomic_store(&t->generation, gen + 1);
		linnet_team_wake(&t->generation, &t->sleepers);
		return;
	}
	linnet_team_wait(&t->generation, gen, &t->sleepers);
}
