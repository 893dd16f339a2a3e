// SPDX-License-Identifier: MIT
/* Keeps pool.h. Between jobs the threads spin for a moment, then sleep on a futex. */
#include "pool.h"

#include "runtime/memory/numa.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct member {
	struct linnet_pool *pool;
	pthread_t thread;
	unsigned index;
};

struct linnet_pool {
	struct linnet_team team;
	_Alignas(64) _Atomic uint32_t job;	/* counts the jobs given out */
	_Atomic uint32_t sleepers;
	struct linnet_exec *exec;		/* NULL: the end */
	const struct linnet_numa *numa;
	unsigned n_members;
	struct member member[];
};

/* First hardware thread of the core that cpu is a part of. */
static int core_of(int cpu)
{
	char path[96];
	int first = cpu;
	FILE *f;

	snprintf(path, sizeof(path),
		 "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
	f = fopen(path, "re");
	if (!f)
		return cpu;
	if (fscanf(f, "%d", &first) != 1)
		first = cpu;
	fclose(f);
	return first;
}

unsigned linnet_pool_cores(void)
{
	cpu_set_t allowed, cores;
	unsigned n = 0;

	CPU_ZERO(&cores);
	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return 1;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		int core;

		if (!CPU_ISSET(cpu, &allowed))
			continue;
		core = core_of(cpu);
		if (core < 0 || core >= CPU_SETSIZE || CPU_ISSET(core, &cores))
			continue;
		CPU_SET(core, &cores);
		n++;
	}
	return n ? n : 1;
}

static void *member_main(void *arg)
{
	struct member *m = arg;
	struct linnet_pool *p = m->pool;
	uint32_t seen = 0;

	linnet_numa_pin(p->numa, m->index);
	for (;;) {
		linnet_team_wait(&p->job, seen, &p->sleepers, NULL);
		seen++;
		if (!p->exec)
			return NULL;
		linnet_exec_run(p->exec, m->index);
		/* nobody reads the job any more when all have come here */
		linnet_team_barrier(&p->team);
	}
}

static void give(struct linnet_pool *p, struct linnet_exec *x)
{
	p->exec = x;
	atomic_fetch_add(&p->job, 1);
	linnet_team_wake(&p->job, &p->sleepers);
}

int linnet_pool_create(struct linnet_pool **out, unsigned n_threads,
		       const struct linnet_numa *numa)
{
	struct linnet_pool *p;
	sigset_t all, old;
	int ret = 0;

	if (posix_memalign((void **)&p, 64, sizeof(*p) + n_threads * sizeof(p->member[0])))
		return -ENOMEM;
	linnet_team_init(&p->team, n_threads);
	atomic_init(&p->job, 0);
	atomic_init(&p->sleepers, 0);
	p->exec = NULL;
	p->numa = numa;
	p->n_members = 0;
	/* signals are the program's affair, but those of a thread's own faults */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (unsigned i = 1; i < n_threads && !ret; i++) {
		struct member *m = &p->member[p->n_members];

		m->pool = p;
		m->index = i;
		ret = pthread_create(&m->thread, NULL, member_main, m);
		p->n_members += !ret;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret) {
		linnet_pool_destroy(p);
		return -ret;
	}
	*out = p;
	return 0;
}

void linnet_pool_destroy(struct linnet_pool *p)
{
	if (!p)
		return;
	give(p, NULL);
	for (unsigned i = 0; i < p->n_members; i++)
		pthread_join(p->member[i].thread, NULL);
	free(p);
}

struct linnet_team *linnet_pool_team(struct linnet_pool *p)
{
	return &p->team;
}

void linnet_pool_run(struct linnet_pool *p, struct linnet_exec *x)
{
	give(p, x);
	linnet_exec_run(x, 0);
	linnet_team_barrier(&p->team);
}
