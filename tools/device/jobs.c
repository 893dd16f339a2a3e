// SPDX-License-Identifier: MIT
/*
 * Submissions. They are taken from the ring in order and executed in order; one that is
 * cancelled before its turn is given back at once. Which objects a submission names is
 * looked up when it begins: until then it is a copy of bytes.
 */
#include "device.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* Multiplications below which meeting at barriers costs more than it brings. */
#define SHARE_WORK (1u << 20)

/*
 * Time for which the ring is watched before the thread sleeps, when the wait before was
 * short, too: a guest that sends the next job when it has seen the last one's results need
 * not wake anybody then. One that takes longer once is not watched until it is quick again.
 */
#define WATCH_NS 500000u

uint64_t device_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* What a job that runs holds on to. */
struct bound {
	struct device_ctx *ctx;
	struct device_stream *stream;
	struct device_resource *resource[VIRTIO_LINNET_MAX_BINDINGS];
	unsigned n;
};

static enum virtio_linnet_status bind(struct device *d, const struct device_ctx *ctx,
				      const struct virtio_linnet_binding *b, struct bound *bound,
				      uint64_t *slots)
{
	const struct linnet_stream *s = bound->stream->s;
	const uint32_t slot = le32toh(b->slot), id = le32toh(b->resource);
	const uint64_t offset = le64toh(b->offset), length = le64toh(b->length);
	const struct linnet_slot_info *info;
	struct device_resource *r;

	if (slot >= s->n_slots || *slots >> slot & 1)
		return VIRTIO_LINNET_S_BINDING;
	info = &s->slot[slot];
	r = id < DEVICE_MAX_RESOURCES ? ctx->resource[id] : NULL;
	if (!r)
		return VIRTIO_LINNET_S_NOENT;
	if (r->filled < r->bytes || offset > r->bytes || length > r->bytes - offset ||
	    length < info->extent || (uintptr_t)(r->at + offset) % info->align)
		return VIRTIO_LINNET_S_BINDING;
	if (info->written && r->read_only)
		return VIRTIO_LINNET_S_ACCESS;
	*slots |= 1ull << slot;
	d->exec.base[slot] = r->at + offset;
	bound->resource[bound->n++] = r;
	return VIRTIO_LINNET_S_OK;
}

/* Check a submission against the objects there are, and set up its execution. */
static enum virtio_linnet_status prepare(struct device *d, const struct device_job *job,
					 struct bound *bound)
{
	const struct virtio_linnet_submit *q = &job->request.head;
	const uint32_t n = le32toh(q->n_bindings), id = le32toh(q->stream);
	const struct linnet_stream *s;
	struct linnet_exec *x = &d->exec;
	struct device_ctx *ctx;
	enum virtio_linnet_status st;
	uint64_t slots = 0;

	if (job->chain.bad || job->chain.out_bytes < sizeof(*q) || q->flags ||
	    n > VIRTIO_LINNET_MAX_BINDINGS ||
	    job->chain.out_bytes != sizeof(*q) + n * sizeof(struct virtio_linnet_binding))
		return VIRTIO_LINNET_S_INVALID;
	ctx = le32toh(q->ctx) < DEVICE_MAX_CONTEXTS ? d->ctx[le32toh(q->ctx)] : NULL;
	bound->ctx = ctx;
	bound->stream = ctx && id < DEVICE_MAX_STREAMS ? ctx->stream[id] : NULL;
	if (!bound->stream || !bound->stream->s)
		return VIRTIO_LINNET_S_NOENT;
	s = bound->stream->s;
	memset(x, 0, sizeof(*x));
	for (uint32_t i = 0; i < LINNET_MAX_PARAMS; i++) {
		x->params[i] = le32toh(q->params[i]);
		if (x->params[i] > (i < s->n_params ? s->param_max[i] : 0))
			return VIRTIO_LINNET_S_INVALID;
	}
	for (uint32_t i = 0; i < n; i++) {
		st = bind(d, ctx, &job->request.binding[i], bound, &slots);
		if (st)
			return st;
	}
	for (uint32_t i = 0; i < s->n_slots; i++)
		if (s->slot[i].extent && !(slots >> i & 1))
			return VIRTIO_LINNET_S_BINDING;
	if (!d->scratch || d->scratch_bytes < bound->stream->scratch) {
		const size_t bytes = bound->stream->scratch ? bound->stream->scratch : 64;
		char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (p == MAP_FAILED)
			return VIRTIO_LINNET_S_NOMEM;
		if (d->scratch)
			munmap(d->scratch, d->scratch_bytes);
		d->scratch = p;
		d->scratch_bytes = bytes;
	}
	x->k = &d->kernels;
	x->s = s;
	x->scratch = d->scratch;
	x->scratch_bytes = d->scratch_bytes;
	x->interrupt = &d->interrupt;
	return VIRTIO_LINNET_S_OK;
}

static enum virtio_linnet_status execute(struct device *d, uint32_t *op)
{
	struct linnet_exec *x = &d->exec;
	int ret = linnet_exec_begin(x);

	if (!ret) {
		if (linnet_exec_work(x->s, x->params) < SHARE_WORK) {
			x->team = &d->alone;
			linnet_exec_run(x, 0);
		} else {
			x->team = linnet_pool_team(d->pool);
			linnet_pool_run(d->pool, x);
		}
		ret = linnet_exec_result(x, op);
	}
	switch (ret) {
	case 0:
		return VIRTIO_LINNET_S_OK;
	case -ERANGE:
		return VIRTIO_LINNET_S_RANGE;
	case -EINTR:
		return VIRTIO_LINNET_S_CANCELLED;
	}
	return VIRTIO_LINNET_S_DEVICE;
}

/* Take all submissions that are in the ring. */
static void take_all(struct device *d)
{
	struct vq *q = &d->queue[VIRTIO_LINNET_JOBQ];

	while (d->n_waiting < q->num) {
		struct device_job *job = calloc(1, sizeof(*job));
		int ret;

		if (!job) {
			device_say(d, "out of memory: no more jobs are taken");
			q->broken = true;
			return;
		}
		job->chain.out = &job->request;
		job->chain.out_room = sizeof(job->request);
		ret = vq_pop(q, &d->memory, &job->chain);
		if (ret != 1) {
			free(job);
			if (ret)
				device_say(d, "the job queue is broken: no more jobs are taken");
			return;
		}
		if (job->chain.bad)
			device_say(d, "a submission is malformed: %s", job->chain.bad);
		/* those after it may have been given back by another process */
		d->holes |= job->chain.again;
		*d->last = job;
		d->last = &job->next;
		d->n_waiting++;
	}
}

static void give_back(struct device *d, struct device_job *job, enum virtio_linnet_status st,
		      uint32_t op, uint64_t ns)
{
	struct vq *q = &d->queue[VIRTIO_LINNET_JOBQ];
	const struct virtio_linnet_done done = { htole32(st), htole32(op), htole64(ns) };
	const uint16_t old = q->used_idx;

	if (st && !job->chain.bad && d->opts.verbose)
		device_say(d, "job %llu ended with status %u at operation %u",
			   (unsigned long long)le64toh(job->request.head.job), st, op);
	vq_push(q, &d->memory, &job->chain, &done, job->chain.bad ? 0 : sizeof(done));
	vq_notify(q, old);
	free(job);
}

bool device_job_run(struct device *d)
{
	struct bound bound = { NULL };
	enum virtio_linnet_status st;
	struct device_job *job;
	uint64_t ns = 0;
	uint32_t op = 0;

	pthread_mutex_lock(&d->lock);
	take_all(d);
	job = d->first;
	if (!job || !vq_runs(&d->queue[VIRTIO_LINNET_JOBQ])) {
		pthread_mutex_unlock(&d->lock);
		return false;
	}
	d->first = job->next;
	if (!d->first)
		d->last = &d->first;
	d->n_waiting--;
	st = prepare(d, job, &bound);
	if (!st) {
		bound.stream->busy++;
		for (unsigned i = 0; i < bound.n; i++)
			bound.resource[i]->busy++;
		atomic_store(&d->interrupt, 0);
		d->running = job;
		pthread_mutex_unlock(&d->lock);

		ns = device_now_ns();
		st = execute(d, &op);
		ns = device_now_ns() - ns;

		pthread_mutex_lock(&d->lock);
		d->running = NULL;
		bound.ctx->n_jobs++;
		bound.ctx->ns += ns;
		bound.stream->busy--;
		for (unsigned i = 0; i < bound.n; i++)
			bound.resource[i]->busy--;
		pthread_cond_broadcast(&d->job_ended);
	}
	give_back(d, job, st, op, ns);
	d->holes = d->holes && d->first;
	pthread_mutex_unlock(&d->lock);
	return true;
}

/* Wait for the end of the job that runs, interrupting it when patience is over. */
static void wait_running(struct device *d, unsigned patience_ms)
{
	struct timespec until;

	if (!d->running)
		return;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += patience_ms % 1000 * 1000000l;
	until.tv_sec += patience_ms / 1000 + until.tv_nsec / 1000000000l;
	until.tv_nsec %= 1000000000l;
	while (d->running && patience_ms)
		if (pthread_cond_timedwait(&d->job_ended, &d->lock, &until) == ETIMEDOUT)
			break;
	while (d->running) {
		atomic_store(&d->interrupt, 1);
		pthread_cond_wait(&d->job_ended, &d->lock);
	}
}

void device_jobs_stop(struct device *d, unsigned patience_ms)
{
	struct vq *q = &d->queue[VIRTIO_LINNET_JOBQ];
	const bool was = q->enabled;

	/* nothing begins while this waits */
	q->enabled = false;
	wait_running(d, patience_ms);
	q->enabled = was;
	/* what has not begun is in the ring again, unless younger ones are not */
	if (!d->holes)
		q->last_avail -= d->n_waiting;
	while (d->first) {
		struct device_job *job = d->first;

		d->first = job->next;
		if (d->holes) {
			give_back(d, job, VIRTIO_LINNET_S_CANCELLED, 0, 0);
		} else {
			vq_untake(q, &job->chain);
			free(job);
		}
	}
	d->last = &d->first;
	d->n_waiting = 0;
	d->holes = false;
}

static bool job_is(const struct device_job *job, const uint32_t *ctx, const uint64_t *number)
{
	if (!job || !ctx)
		return job;
	return !job->chain.bad && job->chain.out_bytes >= sizeof(job->request.head) &&
	       le32toh(job->request.head.ctx) == *ctx &&
	       (!number || le64toh(job->request.head.job) == *number);
}

/* Give back what waits, and interrupt what runs: all, of a context, or of a number. */
static bool cancel(struct device *d, const uint32_t *ctx, const uint64_t *number)
{
	struct device_job **at = &d->first;
	bool found = false;

	take_all(d);
	while (*at) {
		struct device_job *job = *at;

		if (!job_is(job, ctx, number)) {
			at = &job->next;
			continue;
		}
		*at = job->next;
		if (!*at)
			d->last = at;
		d->n_waiting--;
		d->holes |= d->running || at != &d->first;
		give_back(d, job, VIRTIO_LINNET_S_CANCELLED, 0, 0);
		found = true;
	}
	if (job_is(d->running, ctx, number)) {
		atomic_store(&d->interrupt, 1);
		found = true;
	}
	return found;
}

static void cancel_and_wait(struct device *d, const uint32_t *ctx)
{
	for (;;) {
		cancel(d, ctx, NULL);
		if (!job_is(d->running, ctx, NULL))
			return;
		pthread_cond_wait(&d->job_ended, &d->lock);
	}
}

bool device_job_cancel(struct device *d, uint32_t ctx, uint64_t job)
{
	return cancel(d, &ctx, &job);
}

void device_jobs_cancel_ctx(struct device *d, uint32_t ctx)
{
	cancel_and_wait(d, &ctx);
}

void device_jobs_cancel_all(struct device *d)
{
	cancel_and_wait(d, NULL);
}

/* -------------------------------------------------------------- the thread */

void device_jobs_wake(struct device *d)
{
	const uint64_t one = 1;

	/* full means that it is awake */
	if (write(d->wake, &one, sizeof(one)) < 0)
		return;
}

/* Sleep until the guest kicks or somebody wakes us. */
static void sleep_until_kick(struct device *d)
{
	struct vq *q = &d->queue[VIRTIO_LINNET_JOBQ];
	struct pollfd p[2] = { { d->wake, POLLIN, 0 }, { -1, POLLIN, 0 } };
	unsigned generation;
	uint64_t n;

	pthread_mutex_lock(&d->lock);
	if (d->quit || (vq_runs(q) && vq_want_kick(q))) {
		pthread_mutex_unlock(&d->lock);
		return;
	}
	if (vq_runs(q))
		p[1].fd = q->kick;
	generation = q->generation;
	pthread_mutex_unlock(&d->lock);

	poll(p, 2, -1);

	pthread_mutex_lock(&d->lock);
	if (p[0].revents && read(d->wake, &n, sizeof(n)) < 0 && errno != EAGAIN)
		d->quit = true;
	/* the number may be another descriptor's by now */
	if (p[1].revents & POLLIN && q->generation == generation) {
		if (read(q->kick, &n, sizeof(n)) <= 0)
			vq_close_fd(&q->kick);
	} else if (p[1].revents && q->generation == generation) {
		vq_close_fd(&q->kick);
	}
	pthread_mutex_unlock(&d->lock);
}

/* Watch the ring; true: there is something to do. */
static bool watch(struct device *d, uint64_t until)
{
	bool found;

	do {
		linnet_relax();
		pthread_mutex_lock(&d->lock);
		found = d->quit || vq_waits(&d->queue[VIRTIO_LINNET_JOBQ]);
		pthread_mutex_unlock(&d->lock);
	} while (!found && device_now_ns() < until);
	return found;
}

static void *jobs_main(void *arg)
{
	struct device *d = arg;
	bool quit = false, quick = false;

	while (!quit) {
		if (!device_job_run(d)) {
			const uint64_t start = device_now_ns();

			if (!quick || !watch(d, start + WATCH_NS)) {
				sleep_until_kick(d);
				quick = d->may_watch && device_now_ns() - start < WATCH_NS;
			}
		}
		pthread_mutex_lock(&d->lock);
		quit = d->quit;
		pthread_mutex_unlock(&d->lock);
	}
	return NULL;
}

int device_jobs_start(struct device *d)
{
	sigset_t all, old;
	int ret;

	sigfillset(&all);
	/* a guest's memory may go away under the thread */
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&d->thread, NULL, jobs_main, d);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	d->has_thread = !ret;
	return -ret;
}
