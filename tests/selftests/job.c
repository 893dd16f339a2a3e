// SPDX-License-Identifier: MIT
/*
 * Jobs through the ioctl: what they compute, their order, their end, their limits.
 */
#include "dev.h"

#define SIZE (1u << 20)

/* Two buffers, mapped and attached. */
struct pair {
	int fd;
	uint32_t ctx, bo[2], att[2];
	uint8_t *map[2];
};

static void pair_init(struct pair *p)
{
	int i;

	p->fd = dev_open();
	p->ctx = dev_ctx(p->fd);
	for (i = 0; i < 2; i++) {
		p->bo[i] = dev_bo(p->fd, SIZE);
		p->map[i] = dev_map(p->fd, p->bo[i], SIZE);
		p->att[i] = dev_attach(p->fd, p->ctx, p->bo[i]);
	}
}

TEST(copy)
{
	struct pair p;
	struct sim s;
	struct sub j;
	size_t i;

	pair_init(&p);
	for (i = 0; i < SIZE; i++)
		p.map[0][i] = i * 7 + (i >> 8);
	sim_init(&s, 2);
	sim_copy(&s, 1, 0, SIZE);
	sub_init(&j, p.ctx, sim_create(p.fd, p.ctx, &s));
	sub_bind(&j, 0, p.att[0], 0, SIZE);
	sub_bind(&j, 1, p.att[1], 0, SIZE);
	CHECK_EQ(sub_run(p.fd, &j), 0);
	CHECK(j.args.job);
	CHECK(!memcmp(p.map[0], p.map[1], SIZE));
}

/* Pieces at odd places, the same buffer in both slots, overlapping. */
TEST(copy_pieces)
{
	static uint8_t expect[SIZE];
	struct pair p;
	struct sim s;
	struct sub j;
	size_t i;

	pair_init(&p);
	for (i = 0; i < SIZE; i++)
		p.map[0][i] = expect[i] = i * 13 + (i >> 9);
	memmove(expect + 1235, expect + 100, 600001);
	sim_init(&s, 2);
	sim_copy(&s, 1, 0, 600001);
	sub_init(&j, p.ctx, sim_create(p.fd, p.ctx, &s));
	sub_bind(&j, 1, p.att[0], 1235, 600001);
	sub_bind(&j, 0, p.att[0], 100, 600001);
	CHECK_EQ(sub_run(p.fd, &j), 0);
	CHECK(!memcmp(p.map[0], expect, SIZE));
	for (i = 0; i < SIZE; i++)
		CHECK(!p.map[1][i]);
}

TEST(checksum_and_fill)
{
	struct pair p;
	struct sim s;
	struct sub j;
	uint64_t sum;

	pair_init(&p);
	memset(p.map[0], 0x5a, SIZE);
	sim_init(&s, 2);
	sim_fill(&s, 0, 0xa5, 4096);
	sim_checksum(&s, 1, 0, SIZE);
	sub_init(&j, p.ctx, sim_create(p.fd, p.ctx, &s));
	sub_bind(&j, 0, p.att[0], 0, SIZE);
	sub_bind(&j, 1, p.att[1], 24, 8);
	CHECK_EQ(sub_run(p.fd, &j), 0);
	CHECK(p.map[0][0] == 0xa5 && p.map[0][4095] == 0xa5 && p.map[0][4096] == 0x5a);
	memcpy(&sum, p.map[1] + 24, 8);
	CHECK_EQ(sum, fnv1a(p.map[0], SIZE, 0xcbf29ce484222325));
}

TEST(parameters)
{
	struct pair p;
	struct sim s;
	struct sub j;

	pair_init(&p);
	sim_init(&s, 1);
	s.n_params = 2;
	s.param[0].max = 9;
	s.param[1].max = 255;
	sim_fill(&s, 0, 0, 16);
	s.op[0].param = 1;
	s.op[0].value = 0;
	sub_init(&j, p.ctx, sim_create(p.fd, p.ctx, &s));
	sub_bind(&j, 0, p.att[0], 0, 16);
	j.args.n_params = 2;
	j.args.params[0] = 9;
	j.args.params[1] = 77;
	CHECK_EQ(sub_run(p.fd, &j), 0);
	CHECK_EQ(p.map[0][15], 77);
	j.args.params[0] = 10;
	CHECK_EQ(sub_run(p.fd, &j), -EINVAL);
	j.args.params[0] = 0;
	j.args.params[2] = 1;
	CHECK_EQ(sub_run(p.fd, &j), -EINVAL);
	j.args.params[2] = 0;
	j.args.n_params = 1;
	CHECK_EQ(sub_run(p.fd, &j), -EINVAL);
	j.args.n_params = 9;
	CHECK_EQ(sub_run(p.fd, &j), -E2BIG);
}

/* Jobs of a context run in their order, whatever they cost. */
TEST(order)
{
	struct pair p;
	struct sim s;
	struct sub j;
	uint32_t stream[20];
	int i;

	pair_init(&p);
	for (i = 0; i < 20; i++) {
		sim_init(&s, 1);
		if (!(i % 3))
			sim_delay(&s, 3000);
		sim_fill(&s, 0, i + 1, 64);
		stream[i] = sim_create(p.fd, p.ctx, &s);
	}
	for (i = 0; i < 20; i++) {
		sub_init(&j, p.ctx, stream[i]);
		sub_bind(&j, 0, p.att[0], 64 * (i & 1), 64);
		CHECK_EQ(dev_submit_(p.fd, &j.args), 0);
	}
	CHECK_EQ(dev_wait_(p.fd, p.bo[0], FOREVER), 0);
	CHECK_EQ(p.map[0][0], 19);
	CHECK_EQ(p.map[0][64], 20);
}

/* A chain through two contexts by timeline points. */
TEST(syncobjs)
{
	uint32_t ctx[2], att[2], stream[2][2], sync;
	struct pair p;
	struct sub j;
	int i, k;

	pair_init(&p);
	for (i = 0; i < 2; i++) {
		ctx[i] = dev_ctx(p.fd);
		att[i] = dev_attach(p.fd, ctx[i], p.bo[0]);
		for (k = 0; k < 2; k++) {
			struct sim s;

			sim_init(&s, 1);
			sim_delay(&s, i ? 100 : 2000);
			sim_copy(&s, 0, 0, 1);
			s.op[1].src_offset = 0;
			s.op[1].dst_offset = 1;
			if (k)
				sim_fill(&s, 0, i + 1, 1);
			stream[i][k] = sim_create(p.fd, ctx[i], &s);
		}
	}
	sync = dev_syncobj(p.fd);
	p.map[0][0] = 9;
	/* Each copies byte 0 to byte 1 and then writes its own number to byte 0. */
	for (i = 0; i < 10; i++) {
		sub_init(&j, ctx[i & 1], stream[i & 1][1]);
		sub_bind(&j, 0, att[i & 1], 0, 16);
		if (i)
			sub_sync(&j, DRM_LINNET_SYNC_WAIT, sync, i);
		sub_sync(&j, DRM_LINNET_SYNC_SIGNAL, sync, i + 1);
		CHECK_EQ(dev_submit_(p.fd, &j.args), 0);
	}
	CHECK_EQ(dev_sync_wait_(p.fd, sync, 10, FOREVER), 0);
	CHECK_EQ(p.map[0][0], 2);
	CHECK_EQ(p.map[0][1], 1);
	/* A point that nobody has submitted, and one beyond 32 bits. */
	sub_init(&j, ctx[0], stream[0][0]);
	sub_bind(&j, 0, att[0], 0, 16);
	sub_sync(&j, DRM_LINNET_SYNC_WAIT, sync, 11);
	CHECK_ERR(dev_submit_(p.fd, &j.args), EINVAL);
	j.sync[0].point = 1ull << 32 | 5;
	CHECK_ERR(dev_submit_(p.fd, &j.args), EINVAL);
}

TEST(fault)
{
	struct drm_linnet_sim_op *op;
	struct pair p;
	struct sim s;
	struct sub j;

	pair_init(&p);
	sim_init(&s, 1);
	sim_fill(&s, 0, 1, 1);
	op = sim_op(&s, DRM_LINNET_SIM_FAULT);
	op->value = EIO;
	sim_fill(&s, 0, 2, 1);
	sub_init(&j, p.ctx, sim_create(p.fd, p.ctx, &s));
	sub_bind(&j, 0, p.att[0], 0, 1);
	CHECK_EQ(sub_run(p.fd, &j), -EIO);
	CHECK_EQ(p.map[0][0], 1);
	/* That is the job's failure, not the context's. */
	sub_init(&j, p.ctx, sim_simple(p.fd, p.ctx, DRM_LINNET_SIM_DELAY, 1));
	CHECK_EQ(sub_run(p.fd, &j), 0);
}

/* What the device finds out: slots that are too small, not there, or read-only. */
TEST(device_checks)
{
	uint32_t stream, ro;
	struct pair p;
	struct sim s;
	struct sub j;

	pair_init(&p);
	sim_init(&s, 2);
	sim_copy(&s, 1, 0, 4096);
	stream = sim_create(p.fd, p.ctx, &s);
	sub_init(&j, p.ctx, stream);
	sub_bind(&j, 0, p.att[0], 0, 4096);
	CHECK_EQ(sub_run(p.fd, &j), -EINVAL);
	sub_bind(&j, 1, p.att[1], 0, 4095);
	CHECK_EQ(sub_run(p.fd, &j), -EINVAL);
	CHECK_EQ(dev_attach_(p.fd, p.ctx, p.bo[1], DRM_LINNET_ATTACH_READ_ONLY, &ro), 0);
	j.binding[1].length = 4096;
	j.binding[1].attachment = ro;
	CHECK_EQ(sub_run(p.fd, &j), -EACCES);
	j.binding[0].attachment = ro;
	j.binding[1].attachment = p.att[0];
	CHECK_EQ(sub_run(p.fd, &j), 0);
}

/* A context's job that keeps it until it is cancelled. */
static uint64_t gate(struct pair *p, uint32_t ctx, uint32_t sync)
{
	struct sub j;

	sub_init(&j, ctx, sim_simple(p->fd, ctx, DRM_LINNET_SIM_DELAY, 60000000));
	if (sync)
		sub_sync(&j, DRM_LINNET_SYNC_SIGNAL, sync, 0);
	CHECK_EQ(dev_submit_(p->fd, &j.args), 0);
	return j.args.job;
}

TEST(cancel_running)
{
	struct pair p;
	struct sub j;
	uint32_t ctx, sync;
	uint64_t job;

	pair_init(&p);
	dev_patience();
	sync = dev_syncobj(p.fd);
	job = gate(&p, p.ctx, sync);
	/* A later job of another context has run: the device has this one. */
	ctx = dev_ctx(p.fd);
	sub_init(&j, ctx, sim_simple(p.fd, ctx, DRM_LINNET_SIM_DELAY, 1));
	CHECK_EQ(sub_run(p.fd, &j), 0);
	CHECK_ERR(dev_sync_wait_(p.fd, sync, 0, 0), ETIME);
	CHECK_EQ(dev_cancel_(p.fd, p.ctx, job), 0);
	CHECK_EQ(dev_sync_result(p.fd, sync), -ECANCELED);
	/* It has ended. */
	CHECK_ERR(dev_cancel_(p.fd, p.ctx, job), ENOENT);
	/* The context goes on. */
	sub_init(&j, p.ctx, sim_simple(p.fd, p.ctx, DRM_LINNET_SIM_DELAY, 1));
	CHECK_EQ(sub_run(p.fd, &j), 0);
	dev_hurry();
}

/* Every second of the jobs behind a gate is cancelled: in its turn, and without effect. */
TEST(cancel_queued)
{
	uint32_t fill, first, sync[40];
	uint64_t job, at, last;
	struct pair p;
	struct sub k;
	struct sim s;
	int i;

	pair_init(&p);
	dev_patience();
	first = dev_syncobj(p.fd);
	job = gate(&p, p.ctx, first);
	sim_init(&s, 1);
	sim_fill(&s, 0, 1, 1);
	fill = sim_create(p.fd, p.ctx, &s);
	/* More than the device holds, so that some are still with the scheduler. */
	for (i = 0; i < 40; i++) {
		sync[i] = dev_syncobj(p.fd);
		sub_init(&k, p.ctx, fill);
		sub_bind(&k, 0, p.att[0], i, 1);
		sub_sync(&k, DRM_LINNET_SYNC_SIGNAL, sync[i], 0);
		CHECK_EQ(dev_submit_(p.fd, &k.args), 0);
		if (i & 1)
			CHECK_EQ(dev_cancel_(p.fd, p.ctx, k.args.job), 0);
	}
	for (i = 0; i < 40; i++)
		CHECK_ERR(dev_sync_wait_(p.fd, sync[i], 0, 0), ETIME);
	CHECK_EQ(dev_cancel_(p.fd, p.ctx, job), 0);
	CHECK_EQ(dev_sync_result_at(p.fd, first, &last), -ECANCELED);
	for (i = 0; i < 40; i++, last = at) {
		CHECK_EQ(dev_sync_result_at(p.fd, sync[i], &at), i & 1 ? -ECANCELED : 0);
		CHECK(at >= last);
		CHECK_EQ(p.map[0][i], !(i & 1));
	}
	dev_hurry();
}

/* As many jobs as a context takes, the first of them a gate, which is returned. */
static uint64_t fill_queue(struct pair *p, struct sub *j)
{
	struct drm_linnet_dev_info info;
	uint64_t job;
	uint32_t i;

	dev_info(p->fd, &info);
	job = gate(p, p->ctx, 0);
	sub_init(j, p->ctx, sim_simple(p->fd, p->ctx, DRM_LINNET_SIM_DELAY, 1));
	j->args.flags = DRM_LINNET_SUBMIT_NOWAIT;
	for (i = 1; i < info.max_jobs; i++)
		CHECK_EQ(dev_submit_(p->fd, &j->args), 0);
	return job;
}

TEST(full_queue)
{
	struct sub j, other;
	uint32_t ctx, sync;
	struct pair p;
	uint64_t job;
	int status;
	pid_t pid;

	pair_init(&p);
	dev_patience();
	job = fill_queue(&p, &j);
	CHECK_ERR(dev_submit_(p.fd, &j.args), EAGAIN);
	/* Another context has its own room. */
	ctx = dev_ctx(p.fd);
	sub_init(&other, ctx, sim_simple(p.fd, ctx, DRM_LINNET_SIM_DELAY, 1));
	sync = dev_syncobj(p.fd);
	sub_sync(&other, DRM_LINNET_SYNC_SIGNAL, sync, 0);
	other.args.flags = DRM_LINNET_SUBMIT_NOWAIT;
	CHECK_EQ(dev_submit_(p.fd, &other.args), 0);
	CHECK_ERR(dev_submit_(p.fd, &j.args), EAGAIN);
	/* Waiting helps. */
	pid = fork();
	if (!pid) {
		dev_asleep(getppid());
		CHECK_EQ(dev_cancel_(p.fd, p.ctx, job), 0);
		_exit(0);
	}
	j.args.flags = 0;
	CHECK_EQ(dev_submit_(p.fd, &j.args), 0);
	CHECK(waitpid(pid, &status, 0) == pid && !status);
	CHECK_EQ(sub_run(p.fd, &j), 0);
	CHECK_EQ(dev_sync_result(p.fd, sync), 0);
	dev_hurry();
}

static void nothing(int sig)
{
}

/* A signal while waiting for room, before anything has happened. */
TEST(full_queue_signal)
{
	struct sigaction sa = { .sa_handler = nothing };
	struct pair p;
	struct sub j;
	int status;
	pid_t pid;

	pair_init(&p);
	dev_patience();
	sigaction(SIGUSR1, &sa, NULL);
	fill_queue(&p, &j);
	pid = fork();
	if (!pid) {
		dev_asleep(getppid());
		kill(getppid(), SIGUSR1);
		_exit(0);
	}
	j.args.flags = 0;
	CHECK_ERR(dev_submit_(p.fd, &j.args), EINTR);
	CHECK(waitpid(pid, &status, 0) == pid && !status);
	CHECK_EQ(dev_ctx_destroy_(p.fd, p.ctx), 0);
	dev_hurry();
}

/* Two clients that both keep the device busy get about the same. */
TEST(fairness)
{
	unsigned long long end;
	int pipes[2][2], i;
	uint32_t done[2];

	for (i = 0; i < 2; i++) {
		CHECK(!pipe(pipes[i]));
		if (!fork()) {
			struct sub j;
			struct pair p;
			uint32_t n = 0;

			pair_init(&p);
			sub_init(&j, p.ctx, sim_simple(p.fd, p.ctx, DRM_LINNET_SIM_DELAY, 500));
			/* One comes with eight times the jobs in flight. */
			for (end = now_ns() + 2000000000ull; now_ns() < end; n++) {
				int k;

				for (k = 0; i && k < 7; k++, n++)
					CHECK_EQ(dev_submit_(p.fd, &j.args), 0);
				CHECK_EQ(sub_run(p.fd, &j), 0);
			}
			CHECK(write(pipes[i][1], &n, sizeof(n)) == sizeof(n));
			_exit(0);
		}
	}
	for (i = 0; i < 2; i++) {
		CHECK(read(pipes[i][0], &done[i], sizeof(done[i])) == sizeof(done[i]));
		wait(NULL);
	}
	/* Waiting for each result costs the first its pipelining, not its share. */
	CHECK(done[0] * 8 >= done[1]);
}

/* A short job waits for about one long job of others, not for all that they have submitted. */
TEST(long_jobs)
{
	uint32_t ctx[3], sync[2];
	int fd = dev_open(), i, k;
	struct sub j;

	dev_patience();
	for (i = 0; i < 3; i++)
		ctx[i] = dev_ctx(fd);
	for (i = 0; i < 2; i++) {
		sync[i] = dev_syncobj(fd);
		sub_init(&j, ctx[i], sim_simple(fd, ctx[i], DRM_LINNET_SIM_DELAY, 500000));
		sub_sync(&j, DRM_LINNET_SYNC_SIGNAL, sync[i], 0);
		for (k = 1; k <= 32; k++) {
			j.sync[0].point = k;
			CHECK_EQ(dev_submit_(fd, &j.args), 0);
		}
	}
	sub_init(&j, ctx[2], sim_simple(fd, ctx[2], DRM_LINNET_SIM_DELAY, 1));
	CHECK_EQ(sub_run(fd, &j), 0);
	for (i = 0; i < 2; i++) {
		CHECK_ERR(dev_sync_wait_(fd, sync[i], 4, 0), ETIME);
		CHECK_EQ(dev_ctx_destroy_(fd, ctx[i]), 0);
	}
	dev_hurry();
}

TEST(busy_objects)
{
	uint32_t delay;
	struct pair p;
	struct sim s;
	struct sub j;

	pair_init(&p);
	dev_patience();
	sim_init(&s, 1);
	sim_delay(&s, 60000000);
	delay = sim_create(p.fd, p.ctx, &s);
	sub_init(&j, p.ctx, delay);
	sub_bind(&j, 0, p.att[0], 0, 1);
	CHECK_EQ(dev_submit_(p.fd, &j.args), 0);
	CHECK(dev_bo_state(p.fd, p.bo[0]) & DRM_LINNET_BO_BUSY);
	CHECK(!(dev_bo_state(p.fd, p.bo[1]) & DRM_LINNET_BO_BUSY));
	CHECK_ERR(dev_detach_(p.fd, p.ctx, p.att[0]), EBUSY);
	CHECK_ERR(dev_stream_destroy_(p.fd, p.ctx, delay), EBUSY);
	CHECK_EQ(dev_detach_(p.fd, p.ctx, p.att[1]), 0);
	CHECK_ERR(dev_wait_(p.fd, p.bo[0], 0), ETIME);
	CHECK_ERR(dev_wait_(p.fd, p.bo[0], now_ns() + 20000000), ETIME);
	CHECK_EQ(dev_cancel_(p.fd, p.ctx, j.args.job), 0);
	CHECK_EQ(dev_wait_(p.fd, p.bo[0], FOREVER), 0);
	/* At the end of the wait nothing is in use any more. */
	CHECK_EQ(dev_detach_(p.fd, p.ctx, p.att[0]), 0);
	CHECK_EQ(dev_stream_destroy_(p.fd, p.ctx, delay), 0);
	dev_hurry();
}

/* The attachment keeps the memory, not the handle. */
TEST(handle_closed)
{
	struct pair p;
	struct sim s;
	struct sub j;

	pair_init(&p);
	CHECK_EQ(dev_close_(p.fd, p.bo[0]), 0);
	sim_init(&s, 1);
	sim_fill(&s, 0, 7, 100);
	sub_init(&j, p.ctx, sim_create(p.fd, p.ctx, &s));
	sub_bind(&j, 0, p.att[0], 0, 100);
	CHECK_EQ(sub_run(p.fd, &j), 0);
	CHECK_EQ(p.map[0][99], 7);
}

TEST(destroy_with_jobs)
{
	uint32_t sync[50];
	unsigned long long begin;
	struct pair p;
	struct sub j;
	int i;

	pair_init(&p);
	dev_patience();
	sub_init(&j, p.ctx, sim_simple(p.fd, p.ctx, DRM_LINNET_SIM_DELAY, 50000000));
	sub_sync(&j, DRM_LINNET_SYNC_SIGNAL, 0, 0);
	for (i = 0; i < 50; i++) {
		j.sync[0].handle = sync[i] = dev_syncobj(p.fd);
		CHECK_EQ(dev_submit_(p.fd, &j.args), 0);
	}
	begin = now_ns();
	CHECK_EQ(dev_ctx_destroy_(p.fd, p.ctx), 0);
	CHECK(now_ns() - begin < 45000000000ull);
	for (i = 0; i < 50; i++)
		CHECK_EQ(dev_sync_result(p.fd, sync[i]), -ECANCELED);
	CHECK_ERR(dev_submit_(p.fd, &j.args), ENOENT);
	dev_hurry();
}

/* 64 slots of 64 attachments, in any order; the same attachment often. */
TEST(many_bindings)
{
	uint32_t att[64], bo[64], stream;
	struct pair p;
	struct sim s;
	struct sub j;
	int i;

	pair_init(&p);
	sim_init(&s, 64);
	for (i = 0; i < 63; i++)
		sim_copy(&s, i + 1, i, 4096);
	stream = sim_create(p.fd, p.ctx, &s);
	sub_init(&j, p.ctx, stream);
	for (i = 0; i < 64; i++) {
		bo[i] = dev_bo(p.fd, 4096);
		att[i] = dev_attach(p.fd, p.ctx, bo[i]);
		sub_bind(&j, i * 37 % 64, att[i], 0, 4096);
	}
	memset(dev_map(p.fd, bo[0], 4096), 0x3c, 4096);
	CHECK_EQ(sub_run(p.fd, &j), 0);
	CHECK_EQ(*(uint8_t *)dev_map(p.fd, bo[63 * 45 % 64], 4096), 0x3c);
	for (i = 0; i < 64; i++) {
		j.binding[i].attachment = p.att[0];
		j.binding[i].offset = 4096 * (j.binding[i].slot);
	}
	memset(p.map[0], 0x11, 4096);
	CHECK_EQ(sub_run(p.fd, &j), 0);
	CHECK_EQ(p.map[0][63 * 4096 + 4095], 0x11);
}

/* A longer element whose end is zero is one of ours; any other is not. */
TEST(array_stride)
{
	struct { struct drm_linnet_binding b; uint64_t more; } wide[2] = { };
	struct pair p;
	struct sim s;
	struct sub j;

	pair_init(&p);
	sim_init(&s, 2);
	sim_copy(&s, 1, 0, 8);
	sub_init(&j, p.ctx, sim_create(p.fd, p.ctx, &s));
	wide[0].b = (struct drm_linnet_binding){ 0, p.att[0], 0, 8 };
	wide[1].b = (struct drm_linnet_binding){ 1, p.att[1], 0, 8 };
	j.args.bindings.stride = sizeof(wide[0]);
	j.args.bindings.count = 2;
	j.args.bindings.ptr = (uintptr_t)wide;
	memcpy(p.map[0], "12345678", 8);
	CHECK_EQ(sub_run(p.fd, &j), 0);
	CHECK(!memcmp(p.map[1], "12345678", 8));
	wide[1].more = 1;
	CHECK_EQ(sub_run(p.fd, &j), -E2BIG);
}

/* Each field that is refused, one fault at a time. */
TEST(rejected)
{
	struct drm_linnet_submit good;
	struct pair p;
	struct sim s;
	struct sub j;
	uint32_t sync;

	pair_init(&p);
	sync = dev_syncobj(p.fd);
	sim_init(&s, 2);
	sim_copy(&s, 1, 0, 8);
	sub_init(&j, p.ctx, sim_create(p.fd, p.ctx, &s));
	sub_bind(&j, 0, p.att[0], 0, 8);
	sub_bind(&j, 1, p.att[1], 0, 8);
	sub_sync(&j, DRM_LINNET_SYNC_SIGNAL, sync, 1);
	CHECK_EQ(dev_submit_(p.fd, &j.args), 0);
	good = j.args;

#define REJECT(change, error) do { \
	change; \
	CHECK_ERR(dev_submit_(p.fd, &j.args), error); \
	j.args = good; \
} while (0)
	REJECT(j.args.ctx++, ENOENT);
	REJECT(j.args.ctx = 0, ENOENT);
	REJECT(j.args.stream++, ENOENT);
	REJECT(j.args.stream = 0, ENOENT);
	REJECT(j.args.flags = 4, EINVAL);
	REJECT(j.args.flags = 1u << 31, EINVAL);
	REJECT(j.args.n_params = 1, EINVAL);
	REJECT(j.args.n_params = DRM_LINNET_MAX_PARAMS + 1, E2BIG);
	REJECT(j.args.params[0] = 1, EINVAL);
	REJECT(j.args.params[7] = 1, EINVAL);
	REJECT(j.args.bindings.stride = 0, EINVAL);
	REJECT(j.args.bindings.stride = 16, EINVAL);
	REJECT(j.args.bindings.stride = 28, EINVAL);
	REJECT(j.args.bindings.stride = 1u << 20, EINVAL);
	REJECT(j.args.bindings.count = DRM_LINNET_MAX_BINDINGS + 1, E2BIG);
	REJECT(j.args.bindings.count = ~0u, E2BIG);
	REJECT(j.args.bindings.count = 0, EINVAL);
	REJECT(j.args.bindings.ptr = 0, EFAULT);
	REJECT(j.args.bindings.ptr = 1ull << 63, EFAULT);
	REJECT(j.args.syncs.stride = 8, EINVAL);
	REJECT(j.args.syncs.count = DRM_LINNET_MAX_SYNCS + 1, E2BIG);
	REJECT(j.args.syncs.count = 0, EINVAL);
	REJECT(j.args.syncs.ptr = 16, EFAULT);
#undef REJECT
#define REJECT(field, value, error) do { \
	typeof(field) was = field; \
	field = value; \
	CHECK_ERR(dev_submit_(p.fd, &j.args), error); \
	field = was; \
} while (0)
	REJECT(j.binding[0].slot, 1, EINVAL);
	REJECT(j.binding[0].slot, 2, EINVAL);
	REJECT(j.binding[0].slot, ~0u, EINVAL);
	REJECT(j.binding[0].attachment, 0, ENOENT);
	REJECT(j.binding[0].attachment, p.att[1] + 1, ENOENT);
	REJECT(j.binding[0].length, 0, EINVAL);
	REJECT(j.binding[0].length, SIZE + 1, EOVERFLOW);
	REJECT(j.binding[0].offset, SIZE - 7, EOVERFLOW);
	REJECT(j.binding[0].offset, ~0ull, EOVERFLOW);
	REJECT(j.binding[0].length, ~0ull, EOVERFLOW);
	REJECT(j.sync[0].flags, 0, EINVAL);
	REJECT(j.sync[0].flags, 3, EINVAL);
	REJECT(j.sync[0].flags, 4, EINVAL);
	REJECT(j.sync[0].handle, sync + 1, ENOENT);
	REJECT(j.sync[0].handle, 0, ENOENT);
#undef REJECT
	/* None of these has left anything behind. */
	CHECK_EQ(dev_submit_(p.fd, &j.args), 0);
	CHECK_EQ(dev_wait_(p.fd, p.bo[0], FOREVER), 0);
	CHECK_EQ(dev_detach_(p.fd, p.ctx, p.att[0]), 0);
	CHECK_EQ(dev_detach_(p.fd, p.ctx, p.att[1]), 0);
	CHECK_EQ(dev_stream_destroy_(p.fd, p.ctx, j.args.stream), 0);
}

TEST(cancel_rejected)
{
	struct drm_linnet_cancel args;
	struct pair p;
	struct sub j;

	pair_init(&p);
	sub_init(&j, p.ctx, sim_simple(p.fd, p.ctx, DRM_LINNET_SIM_DELAY, 300000));
	CHECK_EQ(dev_submit_(p.fd, &j.args), 0);
	args = (struct drm_linnet_cancel){ p.ctx, 1, j.args.job };
	CHECK_ERR(dev_ioctl(p.fd, DRM_IOCTL_LINNET_CANCEL, &args), EINVAL);
	CHECK_ERR(dev_cancel_(p.fd, p.ctx + 1, j.args.job), ENOENT);
	CHECK_ERR(dev_cancel_(p.fd, p.ctx, j.args.job + 1), ENOENT);
	/* Another file's context of the same number is another one. */
	{
		int fd = dev_open();

		CHECK_EQ(dev_ctx(fd), p.ctx);
		CHECK_ERR(dev_cancel_(fd, p.ctx, j.args.job), ENOENT);
	}
	CHECK_EQ(dev_cancel_(p.fd, p.ctx, j.args.job), 0);
}

TEST_MAIN
