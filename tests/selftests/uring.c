// SPDX-License-Identifier: MIT
/*
 * The io_uring commands: on all kinds of rings, linked to reads, with every way to end.
 */
#include "dev.h"

#include <liburing.h>
#include <sys/syscall.h>

#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1u << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1u << 13)
#endif

static struct io_uring ring;

static void ring_init(unsigned int flags)
{
	int ret = io_uring_queue_init(512, &ring, flags);

	if (ret)
		SKIP("io_uring with flags 0x%x is not there (%s)", flags, strerror(-ret));
	/* User-Mode Linux 6.12 corrupts memory when a mapped ring is forked. */
	io_uring_ring_dontfork(&ring);
}

static struct io_uring_sqe *prep(int fd, uint32_t op, void *args, uint32_t size, uint64_t data)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	struct drm_linnet_uring_cmd payload = { .ptr = (uintptr_t)args, .size = size };

	CHECK(sqe);
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = op;
	sqe->user_data = data;
	memcpy(sqe->cmd, &payload, sizeof(payload));
	return sqe;
}

static struct io_uring_sqe *prep_submit(int fd, struct sub *s, uint64_t data)
{
	s->args.user_data = data;
	return prep(fd, DRM_LINNET_URING_SUBMIT, &s->args, sizeof(s->args), data);
}

/* Result of the next completion; its data must be the given one, unless that is 0. */
static int reap(uint64_t data)
{
	struct io_uring_cqe *cqe;
	int res;

	CHECK_EQ(io_uring_submit_and_wait(&ring, 1) < 0, 0);
	CHECK_EQ(io_uring_wait_cqe(&ring, &cqe), 0);
	if (data)
		CHECK_EQ(cqe->user_data, data);
	res = cqe->res;
	io_uring_cqe_seen(&ring, cqe);
	return res;
}

/* Nothing has completed for some time. */
static void quiet(unsigned int ms)
{
	struct __kernel_timespec ts = { .tv_nsec = ms * 1000000ll };
	struct io_uring_cqe *cqe;

	io_uring_submit(&ring);
	CHECK_EQ(io_uring_wait_cqe_timeout(&ring, &cqe, &ts), -ETIME);
}

static void copies(unsigned int flags, unsigned int sqe_flags)
{
	int fd = dev_open(), i;
	uint32_t ctx = dev_ctx(fd), bo = dev_bo(fd, 65536), att = dev_attach(fd, ctx, bo), stream;
	uint8_t *map = dev_map(fd, bo, 65536);
	static struct sub j[100];
	struct sim s;

	ring_init(flags);
	sim_init(&s, 2);
	sim_copy(&s, 1, 0, 16);
	stream = sim_create(fd, ctx, &s);
	memset(map, 0x55, 16);
	for (i = 0; i < 100; i++) {
		sub_init(&j[i], ctx, stream);
		sub_bind(&j[i], 0, att, i * 16, 16);
		sub_bind(&j[i], 1, att, i * 16 + 16, 16);
		/* Workers of io_uring have no order; a link gives it back. */
		prep_submit(fd, &j[i], i + 1)->flags |=
			sqe_flags ? sqe_flags | (i < 99 ? IOSQE_IO_LINK : 0) : 0;
	}
	for (i = 0; i < 100; i++)
		CHECK_EQ(reap(i + 1), 0);
	CHECK_EQ(map[100 * 16 + 15], 0x55);
	CHECK_EQ(map[101 * 16], 0);
	for (i = 0; i < 100; i++)
		CHECK(j[i].args.job && (!i || j[i].args.job > j[i - 1].args.job));
	io_uring_queue_exit(&ring);
}

TEST(default_ring) { copies(0, 0); }
TEST(defer_taskrun) { copies(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, 0); }
TEST(sqpoll) { copies(IORING_SETUP_SQPOLL, 0); }
TEST(workers) { copies(0, IOSQE_ASYNC); }
TEST(sqe128) { copies(IORING_SETUP_SQE128, 0); }

TEST(cqe32)
{
	int fd = dev_open();
	uint32_t ctx = dev_ctx(fd);
	struct io_uring_cqe *cqe;
	struct sub j;

	ring_init(IORING_SETUP_CQE32);
	sub_init(&j, ctx, sim_simple(fd, ctx, DRM_LINNET_SIM_DELAY, 1000));
	prep_submit(fd, &j, 5);
	CHECK_EQ(io_uring_submit_and_wait(&ring, 1), 1);
	CHECK_EQ(io_uring_wait_cqe(&ring, &cqe), 0);
	CHECK_EQ(cqe->res, 0);
	CHECK(j.args.job);
	CHECK_EQ(cqe->big_cqe[0], j.args.job);
}

TEST(iopoll)
{
	int fd = dev_open(), res;
	uint32_t ctx = dev_ctx(fd);
	struct sub j;

	ring_init(IORING_SETUP_IOPOLL);
	sub_init(&j, ctx, sim_simple(fd, ctx, DRM_LINNET_SIM_DELAY, 1));
	prep_submit(fd, &j, 5);
	res = reap(5);
	/* Refused by older kernels, an ordinary command for newer ones. */
	CHECK(res == -EOPNOTSUPP || !res);
}

TEST(results)
{
	int fd = dev_open();
	uint32_t ctx = dev_ctx(fd);
	struct sub j;

	ring_init(0);
	sub_init(&j, ctx, sim_simple(fd, ctx, DRM_LINNET_SIM_FAULT, ERANGE));
	prep_submit(fd, &j, 1);
	CHECK_EQ(reap(1), -ERANGE);
}

/* The same argument is refused in the same way by both fronts. */
TEST(equivalence)
{
	int fd = dev_open();
	uint32_t ctx = dev_ctx(fd), bo = dev_bo(fd, 4096), att = dev_attach(fd, ctx, bo);
	struct drm_linnet_submit good;
	struct sim s;
	struct sub j;
	int i;

	ring_init(0);
	sim_init(&s, 1);
	s.n_params = 1;
	s.param[0].max = 3;
	sim_fill(&s, 0, 1, 16);
	sub_init(&j, ctx, sim_create(fd, ctx, &s));
	sub_bind(&j, 0, att, 0, 16);
	j.args.n_params = 1;
	good = j.args;
	for (i = 0; i <= 24; i++) {
		int by_ioctl, by_uring;

		j.args = good;
		j.binding[0] = (struct drm_linnet_binding){ 0, att, 0, 16 };
		switch (i) {
		case 1: j.args.ctx = 99; break;
		case 2: j.args.stream = 99; break;
		case 3: j.args.flags = 8; break;
		case 4: j.args.n_params = 0; break;
		case 5: j.args.n_params = 99; break;
		case 6: j.args.params[0] = 4; break;
		case 7: j.args.params[5] = 1; break;
		case 8: j.args.bindings.ptr = 1; break;
		case 9: j.args.bindings.stride = 8; break;
		case 10: j.args.bindings.count = 65; break;
		case 11: j.args.bindings.count = 0; break;
		case 12: j.args.syncs.count = 1; break;
		case 13: j.args.syncs.stride = 16; break;
		case 14: j.args.syncs.ptr = 16; break;
		case 15: j.binding[0].slot = 1; break;
		case 16: j.binding[0].attachment = 9; break;
		case 17: j.binding[0].offset = 4081; break;
		case 18: j.binding[0].length = 0; break;
		case 19: j.binding[0].offset = ~0ull; break;
		case 20: j.args.syncs.count = 65; break;
		case 21: j.args.ctx = 0; break;
		case 22: j.args.bindings.stride = 4104; break;
		case 23: j.args.flags = DRM_LINNET_SUBMIT_IMPLICIT; break;
		case 24: j.binding[0].length = 15; break;
		}
		/* Only what is refused at once; the rest are results of the job. */
		by_ioctl = i && i < 23 ? dev_submit_(fd, &j.args) ? -errno : 0 : sub_run(fd, &j);
		prep_submit(fd, &j, i + 1);
		by_uring = reap(i + 1);
		CHECK_EQ(by_ioctl, by_uring);
		CHECK_EQ(!!by_ioctl, i && i != 23);
	}
}

TEST(payload_rejected)
{
	struct { struct drm_linnet_submit s; uint64_t more[2]; } wide = { };
	int fd = dev_open();
	uint32_t ctx = dev_ctx(fd), bo = dev_bo(fd, 4096);
	struct drm_linnet_bo_wait wait = { .handle = bo };
	struct drm_linnet_cancel cancel = { .ctx = ctx };
	struct io_uring_sqe *sqe;
	struct sub j;

	ring_init(0);
	sub_init(&j, ctx, sim_simple(fd, ctx, DRM_LINNET_SIM_DELAY, 1));
	prep(fd, DRM_LINNET_URING_SUBMIT, &j.args, 0, 1);
	CHECK_EQ(reap(1), -EINVAL);
	prep(fd, DRM_LINNET_URING_SUBMIT, NULL, sizeof(j.args), 2);
	CHECK_EQ(reap(2), -EFAULT);
	prep(fd, 0, &j.args, sizeof(j.args), 3);
	CHECK_EQ(reap(3), -ENOTTY);
	prep(fd, 4, &j.args, sizeof(j.args), 4);
	CHECK_EQ(reap(4), -ENOTTY);
	sqe = prep_submit(fd, &j, 5);
	((struct drm_linnet_uring_cmd *)sqe->cmd)->flags = 1;
	CHECK_EQ(reap(5), -EINVAL);
	sqe = prep_submit(fd, &j, 6);
	sqe->rw_flags = 1;	/* uring_cmd_flags: a registered buffer */
	CHECK(reap(6) < 0);
	/* A newer program's argument, with and without news in it. */
	wide.s = j.args;
	prep(fd, DRM_LINNET_URING_SUBMIT, &wide, sizeof(wide), 7);
	CHECK_EQ(reap(7), 0);
	wide.more[1] = 1;
	prep(fd, DRM_LINNET_URING_SUBMIT, &wide, sizeof(wide), 8);
	CHECK_EQ(reap(8), -E2BIG);
	/* An older one's. */
	j.args.job = 0;
	prep(fd, DRM_LINNET_URING_SUBMIT, &j.args, 88, 9);
	CHECK_EQ(reap(9), 0);
	CHECK(!j.args.job);

	wait.flags = 1;
	prep(fd, DRM_LINNET_URING_BO_WAIT, &wait, sizeof(wait), 10);
	CHECK_EQ(reap(10), -EINVAL);
	wait.flags = 0;
	wait.handle = bo + 1;
	prep(fd, DRM_LINNET_URING_BO_WAIT, &wait, sizeof(wait), 11);
	CHECK_EQ(reap(11), -ENOENT);
	cancel.flags = 1;
	prep(fd, DRM_LINNET_URING_CANCEL, &cancel, sizeof(cancel), 12);
	CHECK_EQ(reap(12), -EINVAL);
	cancel.flags = 0;
	prep(fd, DRM_LINNET_URING_CANCEL, &cancel, sizeof(cancel), 13);
	CHECK_EQ(reap(13), -ENOENT);
}

/* The id is there before the end, so a job can be cancelled from elsewhere. */
TEST(cancel)
{
	int fd = dev_open();
	uint32_t ctx = dev_ctx(fd);
	struct drm_linnet_cancel cancel = { .ctx = ctx };
	struct sub j;

	ring_init(0);
	sub_init(&j, ctx, sim_simple(fd, ctx, DRM_LINNET_SIM_DELAY, 50000000));
	prep_submit(fd, &j, 1);
	quiet(50);
	CHECK(j.args.job);
	cancel.job = j.args.job;
	prep(fd, DRM_LINNET_URING_CANCEL, &cancel, sizeof(cancel), 2);
	CHECK_EQ(reap(0) + reap(0), -ECANCELED);
	/* io_uring's own cancellation does not know of jobs. */
	prep_submit(fd, &j, 3);
	quiet(20);
	io_uring_prep_cancel64(io_uring_get_sqe(&ring), 3, 0);
	CHECK(reap(0) < 0);
	CHECK_EQ(dev_cancel_(fd, ctx, j.args.job), 0);
	CHECK_EQ(reap(3), -ECANCELED);
}

/* More than the context takes: later ones wait without keeping the submitter. */
TEST(full_queue)
{
	int fd = dev_open();
	uint32_t ctx = dev_ctx(fd), gate, quick, i, n;
	struct drm_linnet_dev_info info;
	static struct sub j[512];

	dev_info(fd, &info);
	dev_patience();
	n = info.max_jobs + 50;
	CHECK(n <= 512);
	ring_init(0);
	gate = sim_simple(fd, ctx, DRM_LINNET_SIM_DELAY, 60000000);
	quick = sim_simple(fd, ctx, DRM_LINNET_SIM_DELAY, 1);
	for (i = 0; i < n; i++) {
		sub_init(&j[i], ctx, i ? quick : gate);
		prep_submit(fd, &j[i], i + 1);
	}
	CHECK_EQ(io_uring_submit(&ring), n);
	/* all are submitted, and none has ended */
	CHECK(!io_uring_cq_ready(&ring));
	CHECK_EQ(dev_cancel_(fd, ctx, j[0].args.job), 0);
	CHECK_EQ(reap(1), -ECANCELED);
	for (i = 1; i < n; i++)
		CHECK_EQ(reap(0), 0);
	/* Who does not want that says so. */
	for (i = 0; i < n; i++) {
		j[i].args.flags = DRM_LINNET_SUBMIT_NOWAIT;
		prep_submit(fd, &j[i], i + 1);
	}
	CHECK_EQ(io_uring_submit(&ring), n);
	for (i = 0; i < 50; i++)
		CHECK_EQ(reap(0), -EAGAIN);
	CHECK_EQ(dev_cancel_(fd, ctx, j[0].args.job), 0);
	CHECK_EQ(reap(1), -ECANCELED);
	for (i = 1; i < info.max_jobs; i++)
		CHECK_EQ(reap(0), 0);
	dev_hurry();
}

/* The end of the ring does not wait for the device. */
TEST(ring_exit)
{
	int fd = dev_open(), i;
	uint32_t ctx = dev_ctx(fd), bo = dev_bo(fd, 4096);
	struct drm_linnet_bo_wait wait = { .handle = bo, .timeout_ns = FOREVER };
	static struct sub j[100];
	unsigned long long begin;
	uint32_t stream, att = dev_attach(fd, ctx, bo);
	struct sim s;

	dev_patience();
	ring_init(0);
	sim_init(&s, 1);
	sim_delay(&s, 50000000);
	stream = sim_create(fd, ctx, &s);
	for (i = 0; i < 100; i++) {
		sub_init(&j[i], ctx, stream);
		sub_bind(&j[i], 0, att, 0, 1);
		prep_submit(fd, &j[i], i + 1);
	}
	for (i = 0; i < 10; i++)
		prep(fd, DRM_LINNET_URING_BO_WAIT, &wait, sizeof(wait), 1000 + i);
	quiet(50);
	begin = now_ns();
	io_uring_queue_exit(&ring);
	/* The ring is taken down behind our back; the jobs are cancelled with it. */
	CHECK_EQ(dev_wait_(fd, bo, FOREVER), 0);
	CHECK(now_ns() - begin < 45000000000ull);
	CHECK_EQ(dev_ctx_destroy_(fd, ctx), 0);
	dev_hurry();
}

/*
 * A process dies with jobs in flight, in three ways; or lives on as another program, which has
 * nothing of them. In the end there is no context.
 */
static void die(int how)
{
	unsigned long long begin;
	int pipes[2], status;
	pid_t pid;
	char c;

	dev_patience();
	CHECK(!pipe(pipes));
	pid = fork();
	if (!pid) {
		int fd = dev_open(), i;
		uint32_t ctx = dev_ctx(fd);
		static struct sub j[40];

		ring_init(0);
		for (i = 0; i < 40; i++) {
			sub_init(&j[i], ctx, i ? j[0].args.stream :
				 sim_simple(fd, ctx, DRM_LINNET_SIM_DELAY, 50000000));
			prep_submit(fd, &j[i], i + 1);
		}
		CHECK_EQ(io_uring_submit(&ring), 40);
		CHECK(write(pipes[1], "x", 1) == 1);
		if (how == 1)
			execl("/bin/sleep", "sleep", "1000", NULL);
		if (how == 2)
			exit(0);
		pause();
		_exit(1);
	}
	CHECK(read(pipes[0], &c, 1) == 1);
	begin = now_ns();
	if (!how)
		kill(pid, SIGKILL);
	if (how != 1)
		CHECK(waitpid(pid, &status, 0) == pid);
	while (dev_state("context") != -1) {
		CHECK(now_ns() - begin < 45000000000ull);
		sleep_ms(5);
	}
	if (how == 1) {
		CHECK(!waitpid(pid, &status, WNOHANG));
		kill(pid, SIGKILL);
		CHECK(waitpid(pid, &status, 0) == pid);
	}
	dev_hurry();
}

TEST(killed) { die(0); }
TEST(exec) { die(1); }
TEST(exits) { die(2); }

/* A child inherits the files, submits and ends: its job is the file's, and lives on. */
TEST(forked)
{
	int fd = dev_open(), status;
	uint32_t ctx = dev_ctx(fd), sync = dev_syncobj(fd);
	struct sub j, child;

	dev_patience();
	sub_init(&child, ctx, sim_simple(fd, ctx, DRM_LINNET_SIM_DELAY, 1));
	sub_sync(&child, DRM_LINNET_SYNC_SIGNAL, sync, 0);
	ring_init(0);
	sub_init(&j, ctx, sim_simple(fd, ctx, DRM_LINNET_SIM_DELAY, 60000000));
	prep_submit(fd, &j, 1);
	CHECK_EQ(io_uring_submit(&ring), 1);
	if (!fork())
		_exit(!!dev_submit_(fd, &child.args));
	CHECK(wait(&status) > 0 && !status);
	CHECK(!io_uring_cq_ready(&ring));
	CHECK_ERR(dev_sync_wait_(fd, sync, 0, 0), ETIME);
	CHECK_EQ(dev_cancel_(fd, ctx, j.args.job), 0);
	CHECK_EQ(reap(1), -ECANCELED);
	CHECK_EQ(dev_sync_result(fd, sync), 0);
	dev_hurry();
}

TEST(bo_wait)
{
	int fd = dev_open();
	uint32_t ctx = dev_ctx(fd), bo = dev_bo(fd, 4096), att = dev_attach(fd, ctx, bo);
	struct drm_linnet_bo_wait wait[3] = { { .handle = bo },
					      { .handle = bo },
					      { .handle = bo } };
	struct sim s;
	struct sub j;

	ring_init(0);
	prep(fd, DRM_LINNET_URING_BO_WAIT, &wait[0], sizeof(wait[0]), 1);
	CHECK_EQ(reap(1), 0);
	dev_patience();
	sim_init(&s, 1);
	sim_delay(&s, 60000000);
	sub_init(&j, ctx, sim_create(fd, ctx, &s));
	sub_bind(&j, 0, att, 0, 1);
	CHECK_EQ(dev_submit_(fd, &j.args), 0);
	prep(fd, DRM_LINNET_URING_BO_WAIT, &wait[0], sizeof(wait[0]), 2);
	CHECK_EQ(reap(2), -ETIME);
	wait[1].timeout_ns = now_ns() + 50000000;
	wait[2].timeout_ns = FOREVER;
	prep(fd, DRM_LINNET_URING_BO_WAIT, &wait[1], sizeof(wait[1]), 3);
	prep(fd, DRM_LINNET_URING_BO_WAIT, &wait[2], sizeof(wait[2]), 4)->flags |= IOSQE_ASYNC;
	CHECK_EQ(reap(3), -ETIME);
	CHECK(now_ns() >= (unsigned long long)wait[1].timeout_ns);
	CHECK(!io_uring_cq_ready(&ring));
	CHECK_EQ(dev_cancel_(fd, ctx, j.args.job), 0);
	CHECK_EQ(reap(4), 0);
	dev_hurry();
}

#define BLOCK 65536

/* READ(O_DIRECT) into a buffer, linked to the job that uses it. */
TEST(linked_read)
{
	int fd = dev_open(), blk = dev_disk(BLOCK);
	uint32_t ctx = dev_ctx(fd), bo = dev_bo(fd, 2 * BLOCK), att = dev_attach(fd, ctx, bo);
	uint8_t *map = dev_map(fd, bo, 2 * BLOCK);
	off_t end = lseek(blk, 0, SEEK_END);
	struct drm_linnet_submit args;
	struct io_uring_sqe *sqe;
	uint64_t sum;
	struct sim s;
	struct sub j;

	ring_init(0);
	sim_init(&s, 2);
	sim_checksum(&s, 1, 0, BLOCK);
	sub_init(&j, ctx, sim_create(fd, ctx, &s));
	sub_bind(&j, 0, att, 0, BLOCK);
	sub_bind(&j, 1, att, BLOCK, 8);

	/* Good: the job sees all that was read. */
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_read(sqe, blk, map, BLOCK, 0);
	sqe->user_data = 1;
	sqe->flags |= IOSQE_IO_LINK;
	prep_submit(fd, &j, 2);
	CHECK_EQ(reap(1), BLOCK);
	CHECK_EQ(reap(2), 0);
	CHECK(dev_disk_right(map, 0, BLOCK));
	memcpy(&sum, map + BLOCK, 8);
	CHECK_EQ(sum, fnv1a(map, BLOCK, 0xcbf29ce484222325));

	/* Short: the job is not run. */
	memset(map, 0, 2 * BLOCK);
	args = j.args;
	j.args.job = 0;
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_read(sqe, blk, map, BLOCK, end - BLOCK / 2);
	sqe->user_data = 3;
	sqe->flags |= IOSQE_IO_LINK;
	prep_submit(fd, &j, 4);
	CHECK_EQ(reap(3), BLOCK / 2);
	CHECK_EQ(reap(4), -ECANCELED);
	CHECK(!j.args.job);
	j.args = args;

	/* Failed. */
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_read(sqe, blk, (void *)4096, BLOCK, 0);
	sqe->user_data = 5;
	sqe->flags |= IOSQE_IO_LINK;
	prep_submit(fd, &j, 6);
	CHECK_EQ(reap(5), -EFAULT);
	CHECK_EQ(reap(6), -ECANCELED);
	memcpy(&sum, map + BLOCK, 8);
	CHECK_EQ(sum, 0);

	/* A failed job cancels what is linked behind it. */
	sub_init(&j, ctx, sim_simple(fd, ctx, DRM_LINNET_SIM_FAULT, EIO));
	prep_submit(fd, &j, 7)->flags |= IOSQE_IO_LINK;
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_nop(sqe);
	sqe->user_data = 8;
	CHECK_EQ(reap(7), -EIO);
	CHECK_EQ(reap(8), -ECANCELED);
}

/* Traces name the job and the request; buffers are seen to come, go and be taken. */
TEST(traced)
{
	static const char * const of_job[] = {
		"linnet_job_submit:", "linnet_job_run:", "linnet_job_cancel:", "linnet_job_done:",
	};
	const char *dir = "/sys/kernel/tracing";
	int fd = dev_open(), on, next = 0, buffers = 0;
	uint32_t ctx = dev_ctx(fd), bo = dev_bo(fd, 12288), att, other;
	char path[128], line[512], job[64], attachment[64];
	struct io_uring_cqe *cqe;
	struct sub j, quick;
	FILE *f;

	snprintf(path, sizeof(path), "%s/events/linnet/enable", dir);
	on = open(path, O_WRONLY);
	if (on < 0)
		SKIP("no tracepoints (tracefs, and being root)");
	dev_patience();
	CHECK(write(on, "1", 1) == 1);
	ring_init(IORING_SETUP_CQE32);
	sub_init(&j, ctx, sim_simple(fd, ctx, DRM_LINNET_SIM_DELAY, 60000000));
	prep_submit(fd, &j, 0xabcdef012345);
	CHECK_EQ(io_uring_submit(&ring), 1);
	/* A later job of another context has run: the device has this one. */
	other = dev_ctx(fd);
	sub_init(&quick, other, sim_simple(fd, other, DRM_LINNET_SIM_DELAY, 1));
	CHECK_EQ(sub_run(fd, &quick), 0);
	CHECK_EQ(dev_cancel_(fd, ctx, j.args.job), 0);
	CHECK_EQ(io_uring_wait_cqe(&ring, &cqe), 0);
	CHECK(cqe->user_data == 0xabcdef012345 && cqe->res == -ECANCELED);
	CHECK_EQ(cqe->big_cqe[0], j.args.job);
	memset(dev_map(fd, bo, 12288), 1, 12288);
	att = dev_attach(fd, ctx, bo);
	CHECK_EQ(dev_detach_(fd, ctx, att), 0);
	CHECK_EQ(dev_madvise_(fd, bo, DRM_LINNET_MADV_DONTNEED), 1);
	while (!(dev_bo_state(fd, bo) & DRM_LINNET_BO_PURGED))
		CHECK_EQ(dev_write("/proc/sys/vm/drop_caches", "2"), 0);
	CHECK(write(on, "0", 1) == 1);
	dev_hurry();
	snprintf(job, sizeof(job), "job=%llu user_data=0xabcdef012345 ",
		 (unsigned long long)j.args.job);
	snprintf(attachment, sizeof(attachment), "attachment=%u size=12288 ", att);
	snprintf(path, sizeof(path), "%s/trace", dir);
	f = fopen(path, "r");
	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		if (strstr(line, job)) {
			CHECK(next < 4 && strstr(line, of_job[next]));
			next++;
		}
		if (strstr(line, attachment))
			buffers |= strstr(line, "linnet_bo_attach:") ? 1 :
				   strstr(line, "linnet_bo_detach:") ? 2 : 0;
		if (strstr(line, "linnet_bo_purge:") && strstr(line, "size=12288 freed=12288"))
			buffers |= 4;
	}
	CHECK_EQ(next, 4);
	CHECK_EQ(buffers, 7);
}

TEST_MAIN
