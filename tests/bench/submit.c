// SPDX-License-Identifier: MIT
/*
 * What a job costs: the smallest job of the simulated device (one byte is written), by
 * ioctl and by io_uring command, one at a time and many in flight. Prints a table: time
 * per job, and CPU time of the process per job. Run it with the module loaded (sim=1); what
 * workers of the kernel do is in the first figure alone.
 *
 * usage: submit [JOBS]
 */
#include "../selftests/dev.h"

#include <liburing.h>
#include <sys/resource.h>

#define DEPTH 64

static int fd;
static uint32_t bo;
static struct sub job[DEPTH];
static struct io_uring ring;

static unsigned long long cpu_ns(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000000ull +
	       (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000ull;
}

static void prep(unsigned int i)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	struct drm_linnet_uring_cmd payload = {
		.ptr = (uintptr_t)&job[i].args, .size = sizeof(job[i].args),
	};

	CHECK(sqe);
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = DRM_LINNET_URING_SUBMIT;
	memcpy(sqe->cmd, &payload, sizeof(payload));
}

static void reap(unsigned int n)
{
	struct io_uring_cqe *cqe;

	while (n--) {
		CHECK_EQ(io_uring_wait_cqe(&ring, &cqe), 0);
		CHECK_EQ(cqe->res, 0);
		io_uring_cqe_seen(&ring, cqe);
	}
}

static void by_ioctl(unsigned int depth)
{
	unsigned int i;

	for (i = 0; i < depth; i++)
		CHECK_EQ(dev_submit_(fd, &job[i].args), 0);
	CHECK_EQ(dev_wait_(fd, bo, FOREVER), 0);
}

static void by_uring(unsigned int depth)
{
	unsigned int i;

	for (i = 0; i < depth; i++)
		prep(i);
	CHECK_EQ(io_uring_submit_and_wait(&ring, depth), (int)depth);
	reap(depth);
}

static void measure(const char *name, void (*round)(unsigned int), unsigned int depth,
		    unsigned int jobs)
{
	unsigned long long wall, cpu;
	unsigned int done;

	round(depth);
	wall = now_ns();
	cpu = cpu_ns();
	for (done = 0; done < jobs; done += depth)
		round(depth);
	wall = now_ns() - wall;
	cpu = cpu_ns() - cpu;
	printf("%-24s %5u %10.2f %10.2f\n", name, depth, wall / 1e3 / done, cpu / 1e3 / done);
	fflush(stdout);
}

static void all(unsigned int jobs)
{
	uint32_t ctx, stream, att, i;
	struct sim s;

	fd = dev_open();
	ctx = dev_ctx(fd);
	bo = dev_bo(fd, 4096);
	att = dev_attach(fd, ctx, bo);
	sim_init(&s, 1);
	sim_fill(&s, 0, 1, 1);
	stream = sim_create(fd, ctx, &s);
	for (i = 0; i < DEPTH; i++) {
		sub_init(&job[i], ctx, stream);
		sub_bind(&job[i], 0, att, 0, 4096);
	}
	CHECK_EQ(io_uring_queue_init(DEPTH, &ring, 0), 0);
	printf("%-24s %5s %10s %10s\n", "submitted by", "depth", "us per job", "CPU us");
	measure("ioctl, BO_WAIT", by_ioctl, 1, jobs);
	measure("io_uring", by_uring, 1, jobs);
	measure("ioctl, BO_WAIT", by_ioctl, DEPTH, jobs);
	measure("io_uring", by_uring, DEPTH, jobs);
}

int main(int argc, char **argv)
{
	/* Where failed checks say why. */
	dup2(STDERR_FILENO, TEST_FD);
	all(argc > 1 ? strtoul(argv[1], NULL, 0) : 20000);
	return 0;
}
