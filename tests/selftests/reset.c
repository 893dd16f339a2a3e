// SPDX-License-Identifier: MIT
/*
 * When the device does not answer: time limits, bans, resets, and its removal. Wants a
 * short limit: modprobe linnet sim=2 timeout_ms=1000.
 */
#include "dev.h"

#include <linux/netlink.h>
#include <liburing.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/utsname.h>

static struct io_uring ring;

static unsigned int limit(int fd)
{
	struct drm_linnet_dev_info info;

	dev_info(fd, &info);
	if (info.timeout_ms > 2000)
		SKIP("the time limit is %u ms (modprobe linnet timeout_ms=1000)", info.timeout_ms);
	return info.timeout_ms;
}

static void sysfs(const char *file, const char *text)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/platform/drivers/linnet-sim/%s", file);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		SKIP("%s cannot be written (not root)", path);
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

TEST(timeout_bans_the_guilty)
{
	uint32_t guilty, innocent, hang, delay, quick, sync[4];
	unsigned long long begin = now_ns();
	int fd = dev_open(), i;
	unsigned int ms = limit(fd);
	struct sub j;

	guilty = dev_ctx(fd);
	innocent = dev_ctx(fd);
	hang = sim_simple(fd, guilty, DRM_LINNET_SIM_HANG, 0);
	quick = sim_simple(fd, guilty, DRM_LINNET_SIM_DELAY, 1);
	delay = sim_simple(fd, innocent, DRM_LINNET_SIM_DELAY, 20000);
	for (i = 0; i < 4; i++) {
		sync[i] = dev_syncobj(fd);
		sub_init(&j, guilty, i == 1 ? hang : quick);
		sub_sync(&j, DRM_LINNET_SYNC_SIGNAL, sync[i], 0);
		CHECK_EQ(dev_submit_(fd, &j.args), 0);
	}
	/* The other context works all the time. */
	while (dev_sync_wait_(fd, sync[1], 0, 0)) {
		CHECK_EQ(errno, ETIME);
		sub_init(&j, innocent, delay);
		CHECK_EQ(sub_run(fd, &j), 0);
	}
	CHECK(now_ns() - begin >= ms * 900000ull);
	CHECK_EQ(dev_sync_result(fd, sync[0]), 0);
	CHECK_EQ(dev_sync_result(fd, sync[1]), -ETIMEDOUT);
	CHECK_EQ(dev_sync_result(fd, sync[2]), -ECANCELED);
	CHECK_EQ(dev_sync_result(fd, sync[3]), -ECANCELED);
	/* Banned, and only that one. */
	sub_init(&j, guilty, quick);
	CHECK_ERR(dev_submit_(fd, &j.args), EIO);
	CHECK_ERR(dev_attach_(fd, guilty, dev_bo(fd, 4096), 0, NULL), EIO);
	CHECK_EQ(dev_ctx_destroy_(fd, guilty), 0);
	sub_init(&j, innocent, delay);
	CHECK_EQ(sub_run(fd, &j), 0);
	guilty = dev_ctx(fd);
	sub_init(&j, guilty, sim_simple(fd, guilty, DRM_LINNET_SIM_DELAY, 1));
	CHECK_EQ(sub_run(fd, &j), 0);
}

/* Forget the record of a time limit, if there is one. */
static void dump_discard(const char *path)
{
	int i;

	if (dev_write(path, "1"))
		return;
	for (i = 0; i < 1000 && !access(path, F_OK); i++)
		usleep(10000);
	CHECK(access(path, F_OK));
}

/* A job that hangs; the dump, or what is there of it, to text. Its number. */
static uint64_t dump_of_hang(const char *path, char *text, size_t size, uint32_t *attachment)
{
	uint32_t ctx, bo, stream, sync;
	struct sim s;
	struct sub j;
	FILE *f;
	int fd = dev_open(), i;

	ctx = dev_ctx(fd);
	bo = dev_bo(fd, 8192);
	*attachment = dev_attach(fd, ctx, bo);
	sim_init(&s, 3);
	sim_fill(&s, 2, 1, 16);
	sim_op(&s, DRM_LINNET_SIM_HANG);
	stream = sim_create(fd, ctx, &s);
	sync = dev_syncobj(fd);
	sub_init(&j, ctx, stream);
	sub_bind(&j, 2, *attachment, 64, 128);
	sub_sync(&j, DRM_LINNET_SYNC_SIGNAL, sync, 0);
	j.args.user_data = 0xfeedf00d;
	CHECK_EQ(dev_submit_(fd, &j.args), 0);
	CHECK_EQ(dev_sync_result(fd, sync), -ETIMEDOUT);
	/* A worker hands it out. */
	for (i = 0; i < 1000 && access(path, F_OK); i++)
		usleep(10000);
	f = fopen(path, "r");
	CHECK(f);
	text[fread(text, 1, size - 1, f)] = '\0';
	fclose(f);
	CHECK_EQ(dev_ctx_destroy_(fd, ctx), 0);
	close(fd);
	return j.args.job;
}

/* What is left of a job that hung says what it was, where, and who waited. */
TEST(core_dump)
{
	static char text[32768], again[32768];
	char node[64], path[160], want[160];
	uint32_t attachment, other;
	struct utsname uts;
	uint64_t job;

	limit(dev_open());
	if (access("/sys/class/devcoredump", F_OK))
		SKIP("the kernel keeps no device core dumps (CONFIG_DEV_COREDUMP)");
	close(dev_open_nth(0, node, sizeof(node)));
	snprintf(path, sizeof(path), "/sys/class/accel/%s/device/devcoredump/data",
		 strrchr(node, '/') + 1);
	if (!access(path, F_OK) && access(path, W_OK))
		SKIP("%s cannot be written (not root)", path);
	dump_discard(path);
	job = dump_of_hang(path, text, sizeof(text), &attachment);

	CHECK_EQ(uname(&uts), 0);
	snprintf(want, sizeof(want), "linnet %d.%d on Linux %s\n", DRM_LINNET_MAJOR,
		 DRM_LINNET_MINOR, uts.release);
	CHECK(!strncmp(text, want, strlen(want)));
	snprintf(want, sizeof(want), "\njob %llu of context ", (unsigned long long)job);
	CHECK(strstr(text, want));
	CHECK(strstr(text, "timed out: user_data 0xfeedf00d, fence "));
	snprintf(want, sizeof(want), "\nslot 2: attachment %u, offset 64, length 128 of 8192\n",
		 attachment);
	CHECK(strstr(text, want));
	snprintf(want, sizeof(want), "\nin the device: job %llu of ", (unsigned long long)job);
	CHECK(strstr(text, want));
	snprintf(want, sizeof(want), "\n  job %llu user_data 0xfeedf00d stream ",
		 (unsigned long long)job);
	CHECK(strstr(text, want));
	CHECK(strstr(text, "\ntransport sim\n"));

	/* The next is not kept until this one is gone. */
	CHECK(dump_of_hang(path, again, sizeof(again), &other) != job);
	CHECK(!strcmp(text, again));
	dump_discard(path);
	job = dump_of_hang(path, again, sizeof(again), &other);
	snprintf(want, sizeof(want), "\njob %llu of context ", (unsigned long long)job);
	CHECK(strstr(again, want));
	dump_discard(path);
}

/* All engines hang; who waits behind them is innocent. */
TEST(all_hang)
{
	uint32_t ctx[4], sync[4];
	int fd = dev_open(), i;
	struct sub j;

	limit(fd);
	for (i = 0; i < 4; i++) {
		ctx[i] = dev_ctx(fd);
		sync[i] = dev_syncobj(fd);
		sub_init(&j, ctx[i], i < 3 ? sim_simple(fd, ctx[i], DRM_LINNET_SIM_HANG, 0) :
			 sim_simple(fd, ctx[i], DRM_LINNET_SIM_DELAY, 1));
		sub_sync(&j, DRM_LINNET_SYNC_SIGNAL, sync[i], 0);
		CHECK_EQ(dev_submit_(fd, &j.args), 0);
	}
	for (i = 0; i < 4; i++)
		CHECK_EQ(dev_sync_result(fd, sync[i]), i < 3 ? -ETIMEDOUT : 0);
}

/* Many short jobs take longer than the limit together, which is no crime. */
TEST(slow_but_moving)
{
	int fd = dev_open(), i;
	unsigned int ms = limit(fd);
	uint32_t ctx = dev_ctx(fd), sync = dev_syncobj(fd);
	struct sub j;

	sub_init(&j, ctx, sim_simple(fd, ctx, DRM_LINNET_SIM_DELAY, ms * 400));
	sub_sync(&j, DRM_LINNET_SYNC_SIGNAL, sync, 0);
	for (i = 0; i < 6; i++)
		CHECK_EQ(dev_submit_(fd, &j.args), 0);
	CHECK_EQ(dev_sync_result(fd, sync), 0);
}

TEST(destroy_hanging)
{
	int fd = dev_open();
	uint32_t ctx = dev_ctx(fd);
	unsigned long long begin = now_ns();
	struct sub j;

	/* The time limit is not what ends it. */
	dev_patience();
	sub_init(&j, ctx, sim_simple(fd, ctx, DRM_LINNET_SIM_HANG, 0));
	CHECK_EQ(dev_submit_(fd, &j.args), 0);
	CHECK_EQ(dev_ctx_destroy_(fd, ctx), 0);
	CHECK(now_ns() - begin < 45000000000ull);
	dev_hurry();
}

/* One context cannot be stopped: the device is reset and all contexts are lost. */
TEST(device_reset)
{
	uint32_t guilty, other, sync[2], bo, att, stream;
	int fd = dev_open(), i;
	long long resets;
	struct sub j;

	limit(fd);
	resets = dev_state("resets");
	guilty = dev_ctx(fd);
	other = dev_ctx(fd);
	bo = dev_bo(fd, 4096);
	att = dev_attach(fd, other, bo);
	stream = sim_simple(fd, other, DRM_LINNET_SIM_DELAY, 40000000);
	dev_fail("ctx_reset", 1);
	for (i = 0; i < 2; i++) {
		sync[i] = dev_syncobj(fd);
		sub_init(&j, i ? other : guilty,
			 i ? stream : sim_simple(fd, guilty, DRM_LINNET_SIM_HANG, 0));
		sub_sync(&j, DRM_LINNET_SYNC_SIGNAL, sync[i], 0);
		CHECK_EQ(dev_submit_(fd, &j.args), 0);
	}
	CHECK_EQ(dev_sync_result(fd, sync[0]), -ETIMEDOUT);
	CHECK_EQ(dev_sync_result(fd, sync[1]), -EIO);
	CHECK_EQ(dev_state("resets"), resets + 1);
	sub_init(&j, other, stream);
	CHECK_ERR(dev_submit_(fd, &j.args), EIO);
	CHECK_EQ(dev_detach_(fd, other, att), 0);
	CHECK_EQ(dev_stream_destroy_(fd, other, stream), 0);
	CHECK_EQ(dev_ctx_destroy_(fd, other), 0);
	other = dev_ctx(fd);
	sub_init(&j, other, sim_simple(fd, other, DRM_LINNET_SIM_DELAY, 1));
	CHECK_EQ(sub_run(fd, &j), 0);
}

/* The device does not confirm that it has let go of a buffer: it keeps the pages. */
TEST(detach_fails)
{
	int fd = dev_open(), i;
	uint32_t ctx = dev_ctx(fd), bo = dev_bo(fd, 65536), att = dev_attach(fd, ctx, bo);
	long long resets = dev_state("resets");

	dev_fail("detach", 1);
	CHECK_EQ(dev_detach_(fd, ctx, att), 0);
	CHECK_ERR(dev_detach_(fd, ctx, att), ENOENT);
	/* That costs a reset, after which the pages are free. */
	for (i = 0; i < 100 && (dev_bo_state(fd, bo) & DRM_LINNET_BO_ATTACHED); i++)
		sleep_ms(20);
	CHECK(!(dev_bo_state(fd, bo) & DRM_LINNET_BO_ATTACHED));
	CHECK_EQ(dev_state("resets"), resets + 1);
	CHECK_EQ(dev_state("held by the device"), 0);
	CHECK_ERR(dev_attach_(fd, ctx, bo, 0, NULL), EIO);
	dev_attach(fd, dev_ctx(fd), bo);
}

/* Unbound with jobs in flight: all ends with ENODEV, and memory stays. */
TEST(unplug)
{
	char name[64];
	int fd = dev_open();
	uint32_t ctx = dev_ctx(fd), bo = dev_bo(fd, 1 << 20), att, stream, sync[3], i;
	uint8_t *map = dev_map(fd, bo, 1 << 20);
	struct drm_linnet_uring_cmd payload;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	struct sim s;
	struct sub j;

	dev_name(name, sizeof(name));
	memset(map, 5, 1 << 20);
	att = dev_attach(fd, ctx, bo);
	sim_init(&s, 1);
	sim_op(&s, DRM_LINNET_SIM_HANG);
	stream = sim_create(fd, ctx, &s);
	CHECK_EQ(io_uring_queue_init(8, &ring, 0), 0);
	for (i = 0; i < 3; i++) {
		sync[i] = dev_syncobj(fd);
		sub_init(&j, ctx, stream);
		sub_bind(&j, 0, att, 0, 1);
		sub_sync(&j, DRM_LINNET_SYNC_SIGNAL, sync[i], 0);
		if (i < 2) {
			CHECK_EQ(dev_submit_(fd, &j.args), 0);
			continue;
		}
		sqe = io_uring_get_sqe(&ring);
		CHECK(sqe);
		memset(sqe, 0, sizeof(*sqe));
		sqe->opcode = IORING_OP_URING_CMD;
		sqe->fd = fd;
		sqe->cmd_op = DRM_LINNET_URING_SUBMIT;
		payload = (struct drm_linnet_uring_cmd){ (uintptr_t)&j.args, sizeof(j.args), 0 };
		memcpy(sqe->cmd, &payload, sizeof(payload));
		CHECK_EQ(io_uring_submit(&ring), 1);
	}
	sysfs("unbind", name);
	CHECK_EQ(io_uring_wait_cqe(&ring, &cqe), 0);
	CHECK_EQ(cqe->res, -ENODEV);
	CHECK_ERR(dev_submit_(fd, &j.args), ENODEV);
	CHECK_ERR(dev_wait_(fd, bo, 0), ENODEV);
	CHECK(map[0] == 5 && map[(1 << 20) - 1] == 5);
	map[4096] = 6;
	CHECK_EQ(map[4096], 6);
	sysfs("bind", name);
	/* Another device, for whoever opens it. */
	close(fd);
	CHECK_EQ(map[4096], 6);
	for (i = 0; i < 100 && access("/dev/accel/accel0", R_OK); i++)
		sleep_ms(20);
	fd = dev_open();
	ctx = dev_ctx(fd);
	sub_init(&j, ctx, sim_simple(fd, ctx, DRM_LINNET_SIM_DELAY, 1));
	CHECK_EQ(sub_run(fd, &j), 0);
}

/* A socket that hears what udev hears. */
static int uevents(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	CHECK(fd >= 0);
	CHECK_EQ(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* Is there one with this line, soon? */
static bool uevent_says(int fd, const char *line)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	char text[4096];

	while (poll(&ready, 1, 20000) > 0) {
		ssize_t size = recv(fd, text, sizeof(text) - 1, 0);

		if (size < 0)
			continue;
		text[size] = 0;
		for (const char *at = text; at < text + size; at += strlen(at) + 1)
			if (!strcmp(at, line))
				return true;
	}
	return false;
}

/* Neither context nor device can be stopped: it is not used again until it is rebound. */
TEST(wedged)
{
	struct drm_linnet_ctx_create create = { .priority = DRM_LINNET_PRIORITY_NORMAL };
	char name[64];
	int events = uevents();
	int fd = dev_open();
	uint32_t ctx = dev_ctx(fd), bo = dev_bo(fd, 65536), att = dev_attach(fd, ctx, bo);
	uint32_t sync = dev_syncobj(fd);
	uint8_t *map = dev_map(fd, bo, 65536);
	struct sub j;

	limit(fd);
	dev_name(name, sizeof(name));
	dev_fail("ctx_reset", 1);
	dev_fail("reset", 1);
	sub_init(&j, ctx, sim_simple(fd, ctx, DRM_LINNET_SIM_HANG, 0));
	sub_sync(&j, DRM_LINNET_SYNC_SIGNAL, sync, 0);
	CHECK_EQ(dev_submit_(fd, &j.args), 0);
	CHECK_EQ(dev_sync_result(fd, sync), -ETIMEDOUT);
	CHECK(uevent_says(events, "WEDGED=rebind"));
	close(events);
	CHECK_ERR(dev_submit_(fd, &j.args), ENODEV);
	CHECK_ERR(dev_ioctl(fd, DRM_IOCTL_LINNET_CTX_CREATE, &create), ENODEV);
	/* The pages stay with the device. */
	CHECK_EQ(dev_detach_(fd, ctx, att), 0);
	CHECK_EQ(dev_state("held by the device"), 65536);
	CHECK(dev_bo_state(fd, bo) & DRM_LINNET_BO_ATTACHED);
	map[0] = 1;
	sysfs("unbind", name);
	sysfs("bind", name);
	close(fd);
	fd = dev_open();
	ctx = dev_ctx(fd);
	sub_init(&j, ctx, sim_simple(fd, ctx, DRM_LINNET_SIM_DELAY, 1));
	CHECK_EQ(sub_run(fd, &j), 0);
}

TEST_MAIN
