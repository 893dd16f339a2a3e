// SPDX-License-Identifier: MIT
/*
 * What a job costs: the smallest job of the device, by ioctl and by io_uring command, one
 * at a time and many in flight. Prints a table, for each job: the time, the CPU time of
 * the process, and that of the whole machine, which has the kernel's workers in it; and
 * jobs per second. Run it with the module loaded: on the simulated device (sim=1), or on
 * the one that LINNET_TEST_NODE names, where one at a time is a round trip to it.
 *
 * usage: submit [JOBS]
 */
#include "../selftests/dev.h"

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

/* Of all processors of the machine, in ns; it counts ticks. */
static unsigned long long machine_ns(void)
{
	unsigned long long user, nice, system, idle, iowait, irq, softirq;
	FILE *f = fopen("/proc/stat", "r");

	CHECK(f);
	CHECK_EQ(fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle,
			&iowait, &irq, &softirq), 7);
	fclose(f);
	return (user + nice + system + irq + softirq) * (1000000000ull / sysconf(_SC_CLK_TCK));
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
		CHECK(dev_prep(&ring, fd, DRM_LINNET_URING_SUBMIT, &job[i].args,
			       sizeof(job[i].args)));
	CHECK_EQ(io_uring_submit_and_wait(&ring, depth), (int)depth);
	reap(depth);
}

static void measure(const char *name, void (*round)(unsigned int), unsigned int depth,
		    unsigned int jobs)
{
	unsigned long long wall, cpu, machine;
	unsigned int done;

	round(depth);
	wall = now_ns();
	machine = machine_ns();
	cpu = cpu_ns();
	for (done = 0; done < jobs; done += depth)
		round(depth);
	wall = now_ns() - wall;
	cpu = cpu_ns() - cpu;
	machine = machine_ns() - machine;
	printf("%-24s %5u %10.2f %10.2f %10.2f %10.0f\n", name, depth, wall / 1e3 / done,
	       cpu / 1e3 / done, machine / 1e3 / done, done * 1e9 / wall);
	fflush(stdout);
}

static void all(unsigned int jobs)
{
	static uint64_t data[64];
	struct drm_linnet_dev_info info;
	uint32_t ctx, stream, att, i;
	struct sim s;

	fd = dev_open();
	ctx = dev_ctx(fd);
	bo = dev_bo(fd, 4096);
	att = dev_attach(fd, ctx, bo);
	dev_info(fd, &info);
	if (info.engine == DRM_LINNET_ENGINE_SIM) {
		sim_init(&s, 1);
		sim_fill(&s, 0, 1, 1);
		stream = sim_create(fd, ctx, &s);
	} else {
		CHECK_EQ(dev_stream_(fd, ctx, data, dev_any_stream(fd, data), &stream), 0);
	}
	for (i = 0; i < DEPTH; i++) {
		sub_init(&job[i], ctx, stream);
		sub_bind(&job[i], 0, att, 0, 4096);
	}
	CHECK_EQ(io_uring_queue_init(DEPTH, &ring, 0), 0);
	printf("%-24s %5s %10s %10s %10s %10s\n", "submitted by", "depth", "us per job",
	       "process us", "machine us", "jobs/s");
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
