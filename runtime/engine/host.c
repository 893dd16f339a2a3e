// SPDX-License-Identifier: MIT
/*
 * The host engine: streams run on the CPU, inside the process. Jobs wait in a list
 * and are executed by whoever waits on the queue, together with the pool's threads,
 * so the waiting thread is never a competitor of the working ones; between pieces of
 * work it keeps the queue's reads going.
 */
#include "check.h"
#include "engine.h"
#include "pool.h"

#include "kernels/exec.h"
#include "runtime/memory/numa.h"
#include "runtime/memory/share.h"
#include "runtime/util/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 1024

/* Multiplications below which meeting at barriers costs more than it brings. */
#define SHARE_WORK (1u << 20)

struct linnet_engine_stream {
	struct linnet_stream *s;
};

struct host {
	struct linnet_engine base;
	struct linnet_kernels kernels;
	struct linnet_pool *pool;
	struct linnet_numa *numa;		/* NULL: one node */
	struct linnet_team alone;		/* of the calling thread */
	unsigned n_threads;
	struct linnet_queue *queue;
	struct linnet_region *scratch;
	struct linnet_job *first, **last;
	struct linnet_exec exec;
};

static struct host *to_host(struct linnet_engine *e)
{
	return (struct host *)e;
}

static void poll_queue(void *ctx)
{
	linnet_queue_poll(ctx);
}

/* Run the next job; the queue's worker. */
static bool host_run(void *ctx)
{
	struct host *h = ctx;
	struct linnet_job *job = h->first;
	struct linnet_exec *x = &h->exec;
	int result;

	if (!job)
		return false;
	h->first = job->next;
	if (!h->first)
		h->last = &h->first;

	x->s = job->stream->s;
	x->interrupt = job->interrupt;
	memcpy(x->params, job->params, sizeof(x->params));
	for (uint32_t i = 0; i < job->n_bindings; i++)
		x->base[job->binding[i].slot] = job->binding[i].region->addr +
						job->binding[i].offset;
	x->scratch = h->scratch ? h->scratch->addr : NULL;
	x->scratch_bytes = h->scratch ? h->scratch->bytes : 0;
	result = linnet_exec_begin(x);
	if (!result) {
		if (job->gentle || linnet_exec_work(x->s, x->params) < SHARE_WORK) {
			x->team = &h->alone;
			linnet_exec_run(x, 0);
		} else {
			x->team = linnet_pool_team(h->pool);
			linnet_pool_run(h->pool, x);
		}
		result = linnet_exec_result(x, &job->failed_op);
	}
	job->done(job, result);
	return true;
}

static void host_close(struct linnet_engine *e)
{
	struct host *h = to_host(e);

	linnet_queue_set_worker(h->queue, NULL, NULL);
	linnet_pool_destroy(h->pool);
	linnet_region_host_destroy(h->scratch);
	linnet_numa_close(h->numa);
	free(h);
}

static int host_open(struct linnet_engine **out, const struct linnet_engine_options *opts,
		     struct linnet_error *err)
{
	const char *level = opts->level ? opts->level : getenv("LINNET_CPU");
	struct host *h;
	int ret;

	if (opts->n_threads > MAX_THREADS)
		return linnet_err(err, -EINVAL, "%u threads are too many (at most %d)",
				  opts->n_threads, MAX_THREADS);
	/* holds cache-line aligned members */
	if (posix_memalign((void **)&h, 64, sizeof(*h)))
		return linnet_err(err, -ENOMEM, "out of memory");
	memset(h, 0, sizeof(*h));
	h->base.ops = &linnet_engine_host;
	h->queue = opts->queue;
	h->last = &h->first;
	h->n_threads = opts->n_threads ? opts->n_threads : linnet_pool_cores();
	ret = linnet_kernels_init(&h->kernels, level);
	if (ret) {
		linnet_err(err, ret, ret == -EINVAL ? "no such level of kernels (LINNET_CPU, %s)" :
						      "this CPU lacks the level of kernels "
						      "(LINNET_CPU, %s)", level ? level : "");
		goto err_free;
	}
	if (!opts->no_numa && linnet_numa_open(&h->numa)) {
		ret = linnet_err(err, -ENOMEM, "out of memory");
		goto err_free;
	}
	ret = linnet_pool_create(&h->pool, h->n_threads, h->numa);
	if (ret) {
		linnet_err(err, ret, "cannot start %u threads: %s", h->n_threads, strerror(-ret));
		goto err_free;
	}
	h->exec.k = &h->kernels;
	linnet_team_init(&h->alone, 1);
	h->exec.poll = poll_queue;
	h->exec.poll_ctx = h->queue;
	linnet_queue_set_worker(h->queue, host_run, h);
	*out = &h->base;
	return 0;

err_free:
	linnet_numa_close(h->numa);
	free(h);
	return ret;
}

static void host_info(const struct linnet_engine *e, struct linnet_engine_info *info)
{
	const struct host *h = (const struct host *)e;

	info->name = "host";
	info->isa = h->kernels.isa;
	info->n_threads = h->n_threads;
	info->n_nodes = h->numa ? h->numa->n : 1;
	info->scratch_bytes = h->scratch ? h->scratch->bytes : 0;
	info->max_memory_bytes = 0;
	info->device = 0;
}

static int host_region_create(struct linnet_engine *e, struct linnet_region **out, size_t bytes,
			      enum linnet_pages pages, struct linnet_error *err)
{
	int ret = linnet_region_host_create(out, bytes, pages, err);

	if (!ret && pages == LINNET_PAGES_POOL)
		linnet_numa_spread(to_host(e)->numa, (*out)->addr, (*out)->mapped_bytes);
	return ret;
}

static void host_region_destroy(struct linnet_engine *e, struct linnet_region *r)
{
	linnet_region_host_destroy(r);
}

/* Pages come when they are touched. */
static int host_region_take(struct linnet_engine *e, struct linnet_region *r, size_t offset,
			    size_t bytes, struct linnet_error *err)
{
	return 0;
}

static void host_region_discard(struct linnet_engine *e, struct linnet_region *r, size_t offset,
				size_t bytes)
{
	linnet_region_host_discard(r, offset, bytes);
}

static void host_region_border(struct linnet_engine *e, struct linnet_region *r, size_t at)
{
	linnet_region_host_border(r, at);
}

static int host_stream_scratch(struct linnet_engine *e, const void *data, size_t bytes,
			       uint64_t *scratch, struct linnet_error *err)
{
	struct host *h = to_host(e);
	struct linnet_stream *s;
	int ret = linnet_engine_parse(&s, data, bytes, err);

	if (ret)
		return ret;
	*scratch = linnet_exec_scratch(s, &h->kernels, h->n_threads);
	linnet_stream_free(s);
	return 0;
}

static int host_stream_create(struct linnet_engine *e, struct linnet_engine_stream **out,
			      const void *data, size_t bytes, struct linnet_error *err)
{
	struct host *h = to_host(e);
	struct linnet_engine_stream *s = calloc(1, sizeof(*s));
	size_t scratch;
	int ret;

	if (!s)
		return linnet_err(err, -ENOMEM, "out of memory");
	ret = linnet_engine_parse(&s->s, data, bytes, err);
	if (ret)
		goto err_free;
	scratch = linnet_exec_scratch(s->s, &h->kernels, h->n_threads);
	if (!h->scratch || h->scratch->bytes < scratch) {
		struct linnet_region *r;

		ret = linnet_region_host_create(&r, scratch, LINNET_PAGES_HUGE, err);
		if (ret)
			goto err_free_stream;
		linnet_region_host_destroy(h->scratch);
		h->scratch = r;
	}
	*out = s;
	return 0;

err_free_stream:
	linnet_stream_free(s->s);
err_free:
	free(s);
	return ret;
}

static void host_stream_destroy(struct linnet_engine *e, struct linnet_engine_stream *s)
{
	if (!s)
		return;
	linnet_stream_free(s->s);
	free(s);
}

static int host_submit(struct linnet_engine *e, struct linnet_job *job)
{
	struct host *h = to_host(e);
	int ret = linnet_job_check(job->stream->s, job);

	if (ret)
		return ret;
	job->next = NULL;
	*h->last = job;
	h->last = &job->next;
	return 0;
}

const struct linnet_engine_ops linnet_engine_host = {
	.name = "host",
	.regions_are_private = true,
	.share = &linnet_share_memfd,
	.open = host_open,
	.close = host_close,
	.info = host_info,
	.region_create = host_region_create,
	.region_reserve = host_region_create,
	.region_destroy = host_region_destroy,
	.region_take = host_region_take,
	.region_discard = host_region_discard,
	.region_border = host_region_border,
	.stream_scratch = host_stream_scratch,
	.stream_create = host_stream_create,
	.stream_destroy = host_stream_destroy,
	.submit = host_submit,
};
