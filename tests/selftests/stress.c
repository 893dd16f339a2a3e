// SPDX-License-Identifier: MIT
/*
 * Hostile use: processes that are killed, devices that go away, random commands; and
 * afterwards nothing may be left. LINNET_STRESS=N has N times the rounds (1: seconds),
 * LINNET_TEST_LONG=1 the number that makes a thousand of what counts; LINNET_SEED repeats
 * a run. Wants timeout_ms=1000 or less.
 */
#include "dev.h"

#include <pthread.h>

static uint64_t seed;

static uint32_t rnd(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return n ? (seed >> 11) % n : 0;
}

/* How often: n times, or as often as a long run wants. The time limit grows with it. */
static unsigned int rounds(unsigned int n, unsigned int long_n)
{
	const char *times = getenv("LINNET_STRESS"), *s = getenv("LINNET_SEED");
	const char *longer = getenv("LINNET_TEST_LONG");

	seed = s && *s ? strtoull(s, NULL, 0) : now_ns() | 1;
	if (times && *times)
		n *= atoi(times);
	else if (longer && *longer && strcmp(longer, "0"))
		n = long_n;
	else
		return n;
	alarm(24 * 3600);
	return n;
}

/* Everything once, with jobs of all kinds in flight; results do not matter. */
static void use(int fd, struct io_uring *ring, unsigned int steps)
{
	static struct sub sub[64];
	static struct drm_linnet_bo_wait wait;
	uint32_t ctx[4] = { }, bo[8] = { }, att[8] = { }, stream[4][3] = { }, i, k;
	struct drm_linnet_ctx_create c;
	struct drm_linnet_bo_create b;
	static uint64_t data[1024];
	struct sim s;

	for (i = 0; i < 4; i++) {
		c = (struct drm_linnet_ctx_create){ .priority = rnd(2) };
		if (dev_ioctl(fd, DRM_IOCTL_LINNET_CTX_CREATE, &c))
			continue;
		ctx[i] = c.ctx;
		for (k = 0; k < 3; k++) {
			sim_init(&s, 1);
			if (k == 2)
				sim_op(&s, DRM_LINNET_SIM_HANG);
			else
				sim_delay(&s, k ? 100 : 20000);
			sim_fill(&s, 0, k, 4096);
			dev_stream_(fd, ctx[i], data, sim_data(&s, data), &stream[i][k]);
		}
	}
	for (i = 0; i < 8; i++) {
		b = (struct drm_linnet_bo_create){ .size = 4096u << rnd(6) };
		if (dev_ioctl(fd, DRM_IOCTL_LINNET_BO_CREATE, &b))
			continue;
		bo[i] = b.handle;
		dev_attach_(fd, ctx[i & 3], bo[i], 0, &att[i]);
	}
	while (steps--) {
		struct sub *j = &sub[rnd(64)];

		i = rnd(8);
		switch (rnd(12)) {
		case 0: case 1: case 2: case 3: case 4:
			sub_init(j, ctx[i & 3], stream[i & 3][rnd(40) ? rnd(2) : 2]);
			sub_bind(j, 0, att[i], 0, 4096);
			j->args.flags = rnd(2) ? DRM_LINNET_SUBMIT_NOWAIT : 0;
			if (ring && rnd(2)) {
				dev_prep(ring, fd, DRM_LINNET_URING_SUBMIT, &j->args,
					 sizeof(j->args));
				io_uring_submit(ring);
			} else {
				j->args.flags = DRM_LINNET_SUBMIT_NOWAIT;
				dev_submit_(fd, &j->args);
			}
			break;
		case 5: case 6:
			dev_cancel_(fd, j->args.ctx, j->args.job);
			break;
		case 7:
			if (!dev_detach_(fd, ctx[i & 3], att[i])) {
				dev_madvise_(fd, bo[i], DRM_LINNET_MADV_DONTNEED);
				if (rnd(2))
					dev_madvise_(fd, bo[i], DRM_LINNET_MADV_WILLNEED);
				dev_attach_(fd, ctx[i & 3], bo[i], 0, &att[i]);
			}
			break;
		case 8:
			if (ring) {
				wait = (struct drm_linnet_bo_wait){ bo[i], 0, now_ns() + 5000000 };
				dev_prep(ring, fd, DRM_LINNET_URING_BO_WAIT, &wait, sizeof(wait));
				io_uring_submit(ring);
			} else {
				dev_wait_(fd, bo[i], now_ns() + 1000000);
			}
			break;
		case 9:
			close(dev_prime_export_(fd, bo[i]));
			break;
		case 10:
			if (!rnd(10)) {
				dev_ctx_destroy_(fd, ctx[i & 3]);
				ctx[i & 3] = 0;
			}
			break;
		case 11:
			if (ring) {
				struct io_uring_cqe *cqe;

				while (!io_uring_peek_cqe(ring, &cqe))
					io_uring_cqe_seen(ring, cqe);
			}
			break;
		}
	}
}

TEST_LIMIT(killed, 600)
{
	unsigned int i, n = rounds(60, 1000);
	const struct dev_memory before = dev_memory();

	dev_nothing_left(&before);
	for (i = 0; i < n; i++) {
		uint64_t s = seed + i * 0x9e3779b9;
		int status;
		pid_t pid = fork();

		if (!pid) {
			struct io_uring ring;
			int fd = dev_open();

			seed = s;
			if (io_uring_queue_init(256, &ring, rnd(4) ? 0 : IORING_SETUP_SQPOLL))
				_exit(1);
			for (;;)
				use(fd, &ring, 200);
		}
		sleep_ms(1 + rnd(40));
		kill(pid, SIGKILL);
		CHECK(waitpid(pid, &status, 0) == pid);
		/* It must not have ended by itself. */
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	dev_nothing_left(&before);
}

struct racer {
	pthread_t thread;
	int fd;
	uint32_t ctx;
	volatile int stop;
	struct sub sub[48];
};

static void *canceller(void *arg)
{
	struct racer *r = arg;

	while (!r->stop) {
		dev_cancel_(r->fd, r->ctx, r->sub[rnd(48)].args.job);
		if (!rnd(16))
			sleep_ms(1);
	}
	return NULL;
}

/* Completion, cancellation, time limit and removal meet; each request ends once. */
static void race(int ready)
{
	static struct racer r;
	struct io_uring ring;
	struct io_uring_cqe *cqe;
	unsigned int flight = 0, i;
	uint32_t stream[3];
	uint64_t seen = 0;

	r.fd = dev_open();
	r.ctx = dev_ctx(r.fd);
	for (i = 0; i < 3; i++)
		stream[i] = sim_simple(r.fd, r.ctx, i == 2 ? DRM_LINNET_SIM_HANG :
				       DRM_LINNET_SIM_DELAY, i == 2 ? 0 : i ? 3000 : 1);
	CHECK_EQ(io_uring_queue_init(64, &ring, 0), 0);
	CHECK(!pthread_create(&r.thread, NULL, canceller, &r));
	for (i = 0; i < 48; i++) {
		sub_init(&r.sub[i], r.ctx, stream[rnd(24) ? rnd(2) : 2]);
		dev_prep(&ring, r.fd, DRM_LINNET_URING_SUBMIT, &r.sub[i].args,
		     sizeof(r.sub[i].args))->user_data = i + 1;
		CHECK_EQ(io_uring_submit(&ring), 1);
		flight++;
		if (!i)
			CHECK(write(ready, "x", 1) == 1);
	}

	while (flight) {
		CHECK_EQ(io_uring_wait_cqe(&ring, &cqe), 0);
		CHECK(!(seen & 1ull << cqe->user_data));
		seen |= 1ull << cqe->user_data;
		CHECK(!cqe->res || cqe->res == -ECANCELED || cqe->res == -ETIMEDOUT ||
		      cqe->res == -ENODEV || cqe->res == -EIO || cqe->res == -ENOENT);
		io_uring_cqe_seen(&ring, cqe);
		flight--;
	}
	r.stop = 1;
	pthread_join(r.thread, NULL);
	/* No second end for any of them. */
	sleep_ms(2);
	CHECK(io_uring_peek_cqe(&ring, &cqe));
	io_uring_queue_exit(&ring);
	_exit(0);
}

TEST_LIMIT(four_way_race, 600)
{
	unsigned int i, n = rounds(12, 240);
	const struct dev_memory before = dev_memory();
	char name[64], path[160];

	dev_name(name, sizeof(name));
	for (i = 0; i < n; i++) {
		uint64_t s = seed + i * 0x9e3779b9;
		pid_t pid[2];
		int status, k, pipes[2];
		char c;

		CHECK(!pipe(pipes));
		for (k = 0; k < 2; k++) {
			pid[k] = fork();
			if (!pid[k]) {
				seed = s + k;
				race(pipes[1]);
			}
		}
		/* Both have begun. */
		close(pipes[1]);
		for (k = 0; k < 2; k++)
			CHECK(read(pipes[0], &c, 1) == 1);
		close(pipes[0]);
		sleep_ms(rnd(60));
		if (i & 1) {
			snprintf(path, sizeof(path), "/sys/bus/platform/drivers/linnet-sim/unbind");
			if (dev_write(path, name))
				SKIP("%s cannot be written (not root)", path);
		}
		for (k = 0; k < 2; k++) {
			CHECK(waitpid(pid[k], &status, 0) == pid[k]);
			CHECK(WIFEXITED(status));
			CHECK(!WEXITSTATUS(status));
		}
		if (i & 1)
			CHECK(!dev_write("/sys/bus/platform/drivers/linnet-sim/bind", name));
	}
	dev_nothing_left(&before);
}

/* Unbound and bound again with files, mappings and exported buffers in use. */
TEST_LIMIT(rebind, 600)
{
	unsigned int i, n = rounds(30, 1000);
	const struct dev_memory before = dev_memory();
	char name[64];

	dev_name(name, sizeof(name));
	for (i = 0; i < n; i++) {
		int fd = dev_open(), dma_buf;
		uint32_t bo = dev_bo(fd, 65536), ctx = dev_ctx(fd);
		char *map = dev_map(fd, bo, 65536);
		struct sub j;

		memset(map, i, 65536);
		dev_attach(fd, ctx, bo);
		dma_buf = dev_prime_export_(fd, bo);
		sub_init(&j, ctx, sim_simple(fd, ctx, DRM_LINNET_SIM_DELAY, 2000));
		CHECK_EQ(dev_submit_(fd, &j.args), 0);
		if (dev_write("/sys/bus/platform/drivers/linnet-sim/unbind", name))
			SKIP("the driver cannot be unbound (not root)");
		CHECK(map[65535] == (char)i);
		if (i % 3 == 0)
			close(fd);
		CHECK(!dev_write("/sys/bus/platform/drivers/linnet-sim/bind", name));
		if (i % 3 == 1)
			close(fd);
		close(dma_buf);
		CHECK(map[0] == (char)i);
		munmap(map, 65536);
		if (i % 3 == 2)
			close(fd);
	}
	dev_nothing_left(&before);
}

/* Random arguments, made of good ones. */
TEST_LIMIT(fuzz, 600)
{
	unsigned int i, k, n = rounds(20000, 1000000);
	const struct dev_memory before = dev_memory();
	uint64_t first = seed;
	pid_t pid = fork();
	int status;

	if (!pid) {
		struct io_uring ring;
		int fd = dev_open();
		uint64_t args[16];
		static uint64_t data[2048];
		static struct sub pool;

		CHECK_EQ(io_uring_queue_init(64, &ring, 0), 0);
		use(fd, NULL, 0);
		for (i = 0; i < n; i++) {
			uint32_t nr = rnd(DRM_LINNET_CANCEL + 1), size = 8 * (1 + rnd(13));

			for (k = 0; k < ARRAY_SIZE(args); k++) {
				switch (rnd(8)) {
				case 0: args[k] = rnd(0) | (uint64_t)rnd(256) << 56; break;
				case 1: args[k] = (uintptr_t)data; break;
				case 2: args[k] = (uintptr_t)pool.binding; break;
				case 3: args[k] = 4096u << rnd(8); break;
				case 4: args[k] = 0; break;
				default: args[k] = rnd(10) | (uint64_t)rnd(10) << 32;
				}
			}
			for (k = 0; k < 24; k++)
				data[rnd(ARRAY_SIZE(data))] = rnd(16) ? rnd(9) : seed;
			if (!rnd(2)) {
				struct sim s;

				sim_init(&s, rnd(4));
				for (k = rnd(4); k; k--) {
					sim_op(&s, rnd(8))->value = rnd(3);
					s.op[rnd(s.n_ops)].length = rnd(4) ? rnd(5000) : seed;
				}
				args[1] = (uintptr_t)data;
				args[0] = (1 + rnd(4)) | (uint64_t)sim_data(&s, data) << 32;
			}
			if (!rnd(3)) {
				sub_init(&pool, 1 + rnd(4), 1 + rnd(3));
				for (k = rnd(4); k; k--)
					sub_bind(&pool, rnd(3), rnd(10), rnd(2) ? 0 : rnd(9000),
						 rnd(9000));
				pool.args.flags = DRM_LINNET_SUBMIT_NOWAIT | rnd(4);
				memcpy(args, &pool.args, sizeof(pool.args));
				args[rnd(12)] ^= rnd(3) ? 0 : 1ull << rnd(64);
			}
			/* All of the memory is not the point: small, or refused. */
			if (nr == DRM_LINNET_BO_CREATE)
				args[0] = rnd(8) ? args[0] % (1u << 20) : args[0] | 1ull << 50;
			/* Blocking commands get a deadline, and the queue is not waited for. */
			if (nr == DRM_LINNET_BO_WAIT)
				args[1] = rnd(2) ? 0 : now_ns() + rnd(1000000);
			if (nr == DRM_LINNET_SUBMIT)
				args[1] |= DRM_LINNET_SUBMIT_NOWAIT;	/* flags */
			if (rnd(3)) {
				ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, 'd', DRM_COMMAND_BASE + nr,
					       size), args);
			} else {
				struct io_uring_cqe *cqe;

				if (rnd(2))
					args[1] = args[1] & ~0ull >> 1;
				dev_prep(&ring, fd, rnd(5), args, rnd(8) ? size : rnd(0));
				io_uring_submit(&ring);
				sleep_ms(!rnd(200));
				while (!io_uring_peek_cqe(&ring, &cqe))
					io_uring_cqe_seen(&ring, cqe);
			}
		}
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		test_leave(1, "the fuzzer ended with status 0x%x, LINNET_SEED=%llu", status,
			   (unsigned long long)first);
	dev_nothing_left(&before);
}

TEST_MAIN
