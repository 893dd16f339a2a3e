/* SPDX-License-Identifier: MIT */
/*
 * The threads of the host engine. The caller of linnet_pool_run() is thread 0, so a
 * pool of n has n - 1 threads of its own: with n cores nothing competes.
 */
#ifndef LINNET_ENGINE_POOL_H
#define LINNET_ENGINE_POOL_H

#include "kernels/exec.h"

struct linnet_numa;
struct linnet_pool;

/* Cores that the process may use: its affinity, hardware threads of one core once. */
unsigned linnet_pool_cores(void);

/* numa: let each thread stay on one of its nodes, round robin, but the caller's, which is
 * the program's affair; NULL: on any. */
int linnet_pool_create(struct linnet_pool **out, unsigned n_threads,
		       const struct linnet_numa *numa);
void linnet_pool_destroy(struct linnet_pool *p);
struct linnet_team *linnet_pool_team(struct linnet_pool *p);
/* Execute x, prepared by linnet_exec_begin(), on all threads. */
void linnet_pool_run(struct linnet_pool *p, struct linnet_exec *x);

#endif
