// SPDX-License-Identifier: MIT
/*
 * The commands that are not about jobs: what they return, and each thing that they refuse,
 * one fault at a time.
 */
#include "dev.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>

TEST(version)
{
	char name[32] = "", desc[64] = "", date[32] = "";
	struct drm_version v = {
		.name = name, .name_len = sizeof(name), .desc = desc, .desc_len = sizeof(desc),
		.date = date, .date_len = sizeof(date),
	};
	int fd = dev_open();

	CHECK_EQ(dev_ioctl(fd, DRM_IOCTL_VERSION, &v), 0);
	CHECK(!strcmp(name, "linnet"));
	CHECK_EQ(v.version_major, DRM_LINNET_MAJOR);
	CHECK(v.version_minor >= DRM_LINNET_MINOR);
}

TEST(query)
{
	unsigned char raw[512];
	struct drm_linnet_dev_info info;
	struct drm_linnet_dev_query q = { };
	int fd = dev_open();

	CHECK_EQ(dev_ioctl(fd, DRM_IOCTL_LINNET_DEV_QUERY, &q), 0);
	CHECK(q.size >= sizeof(info));
	dev_info(fd, &info);
	CHECK_EQ(info.engine, DRM_LINNET_ENGINE_SIM);
	CHECK_EQ(info.stream_magic, DRM_LINNET_SIM_MAGIC);
	CHECK(info.max_bindings <= DRM_LINNET_MAX_BINDINGS && info.max_bindings);
	CHECK(info.max_params <= DRM_LINNET_MAX_PARAMS && info.max_params);
	CHECK(info.queue_depth && info.max_jobs && info.max_contexts && info.timeout_ms);
	CHECK(!info.reserved);
	CHECK(memchr(info.isa, 0, sizeof(info.isa)));
	CHECK(info.features & DRM_LINNET_FEATURE_URING);

	/* More room than there is: zeroes follow. Less: no byte more is written. */
	memset(raw, 0xee, sizeof(raw));
	q = (struct drm_linnet_dev_query){ .size = 256, .ptr = (uintptr_t)raw };
	CHECK_EQ(dev_ioctl(fd, DRM_IOCTL_LINNET_DEV_QUERY, &q), 0);
	CHECK(!memcmp(raw, &info, sizeof(info)) && !raw[q.size] && !raw[255] && raw[256] == 0xee);
	memset(raw, 0xee, sizeof(raw));
	q.size = 8;
	CHECK_EQ(dev_ioctl(fd, DRM_IOCTL_LINNET_DEV_QUERY, &q), 0);
	CHECK(!memcmp(raw, &info, 8) && raw[8] == 0xee);

	q = (struct drm_linnet_dev_query){ .type = 1 };
	CHECK_ERR(dev_ioctl(fd, DRM_IOCTL_LINNET_DEV_QUERY, &q), EINVAL);
	q = (struct drm_linnet_dev_query){ .size = 1 << 20, .ptr = (uintptr_t)raw };
	CHECK_ERR(dev_ioctl(fd, DRM_IOCTL_LINNET_DEV_QUERY, &q), E2BIG);
	q.size = ~0u;
	CHECK_ERR(dev_ioctl(fd, DRM_IOCTL_LINNET_DEV_QUERY, &q), E2BIG);
	q = (struct drm_linnet_dev_query){ .size = sizeof(info), .ptr = 8 };
	CHECK_ERR(dev_ioctl(fd, DRM_IOCTL_LINNET_DEV_QUERY, &q), EFAULT);
}

TEST(bo_create_rejected)
{
	struct drm_linnet_bo_create args;
	struct drm_linnet_dev_info info;
	int fd = dev_open();

	dev_info(fd, &info);
#define REJECT(error, ...) do { \
	args = (struct drm_linnet_bo_create){ __VA_ARGS__ }; \
	CHECK_ERR(dev_ioctl(fd, DRM_IOCTL_LINNET_BO_CREATE, &args), error); \
} while (0)
	REJECT(EINVAL, .size = 0);
	REJECT(EINVAL, .size = 4097);
	REJECT(EINVAL, .size = 4096, .flags = 1);
	REJECT(EINVAL, .size = 4096, .flags = 1u << 31);
	REJECT(E2BIG, .size = info.max_bo_bytes + 4096);
	REJECT(E2BIG, .size = ~0ull << 12);
#undef REJECT
}

TEST(bo_rejected)
{
	struct drm_linnet_bo_info info = { };
	struct drm_linnet_bo_mmap_offset off = { };
	struct drm_linnet_bo_madvise madv = { };
	struct drm_linnet_bo_wait wait = { };
	int fd = dev_open();
	uint32_t bo = dev_bo(fd, 4096);

	CHECK_ERR(dev_ioctl(fd, DRM_IOCTL_LINNET_BO_INFO, &info), ENOENT);
	info.handle = bo + 1;
	CHECK_ERR(dev_ioctl(fd, DRM_IOCTL_LINNET_BO_INFO, &info), ENOENT);
	CHECK_ERR(dev_ioctl(fd, DRM_IOCTL_LINNET_BO_MMAP_OFFSET, &off), ENOENT);
	off.handle = bo;
	off.flags = 1;
	CHECK_ERR(dev_ioctl(fd, DRM_IOCTL_LINNET_BO_MMAP_OFFSET, &off), EINVAL);
	CHECK_ERR(dev_ioctl(fd, DRM_IOCTL_LINNET_BO_MADVISE, &madv), ENOENT);
	madv.handle = bo;
	madv.madv = 2;
	CHECK_ERR(dev_ioctl(fd, DRM_IOCTL_LINNET_BO_MADVISE, &madv), EINVAL);
	madv.madv = 0;
	madv.reserved = 1;
	CHECK_ERR(dev_ioctl(fd, DRM_IOCTL_LINNET_BO_MADVISE, &madv), EINVAL);
	CHECK_ERR(dev_ioctl(fd, DRM_IOCTL_LINNET_BO_WAIT, &wait), ENOENT);
	wait.handle = bo;
	wait.flags = 1;
	CHECK_ERR(dev_ioctl(fd, DRM_IOCTL_LINNET_BO_WAIT, &wait), EINVAL);
	/* Handles belong to the file. */
	info.handle = bo;
	CHECK_ERR(dev_ioctl(dev_open(), DRM_IOCTL_LINNET_BO_INFO, &info), ENOENT);
	CHECK_EQ(dev_ioctl(fd, DRM_IOCTL_LINNET_BO_INFO, &info), 0);
	CHECK_EQ(info.size, 4096);
}

TEST(ctx_rejected)
{
	struct drm_linnet_ctx_create c;
	struct drm_linnet_ctx_destroy d;
	int fd = dev_open();
	uint32_t ctx = dev_ctx(fd);

#define REJECT(error, ...) do { \
	c = (struct drm_linnet_ctx_create){ __VA_ARGS__ }; \
	CHECK_ERR(dev_ioctl(fd, DRM_IOCTL_LINNET_CTX_CREATE, &c), error); \
} while (0)
	REJECT(EINVAL, .priority = 3);
	REJECT(EINVAL, .priority = ~0u);
	REJECT(EINVAL, .flags = 1);
	REJECT(EINVAL, .reserved = 1);
#undef REJECT
	CHECK_ERR(dev_ctx_destroy_(fd, 0), ENOENT);
	CHECK_ERR(dev_ctx_destroy_(fd, ctx + 1), ENOENT);
	d = (struct drm_linnet_ctx_destroy){ .ctx = ctx, .reserved = 1 };
	CHECK_ERR(dev_ioctl(fd, DRM_IOCTL_LINNET_CTX_DESTROY, &d), EINVAL);
	CHECK_EQ(dev_ctx_destroy_(fd, ctx), 0);
	CHECK_ERR(dev_ctx_destroy_(fd, ctx), ENOENT);
}

TEST(ctx_limit)
{
	struct drm_linnet_ctx_create c = { .priority = DRM_LINNET_PRIORITY_NORMAL };
	struct drm_linnet_dev_info info;
	int fd = dev_open();
	uint32_t i;

	dev_info(fd, &info);
	for (i = 0; i < info.max_contexts; i++)
		dev_ctx(fd);
	CHECK_ERR(dev_ioctl(fd, DRM_IOCTL_LINNET_CTX_CREATE, &c), ENOSPC);
	CHECK_EQ(dev_ctx_destroy_(fd, 5), 0);
	CHECK_EQ(dev_ctx(fd), 5);
	/* Of one file. */
	dev_ctx(dev_open());
}

TEST(priority)
{
	struct drm_linnet_ctx_create c = { .priority = DRM_LINNET_PRIORITY_HIGH };
	int fd = dev_open();

	if (geteuid())
		SKIP("needs to be root, to become someone else");
	dev_ctx_priority(fd, DRM_LINNET_PRIORITY_HIGH);
	CHECK(!setresuid(65534, 65534, 65534));
	CHECK_ERR(dev_ioctl(fd, DRM_IOCTL_LINNET_CTX_CREATE, &c), EACCES);
	dev_ctx_priority(fd, DRM_LINNET_PRIORITY_LOW);
}

TEST(attach_rejected)
{
	int fd = dev_open();
	uint32_t ctx = dev_ctx(fd), bo = dev_bo(fd, 8192), att = dev_attach(fd, ctx, bo), more;

	CHECK_ERR(dev_attach_(fd, ctx + 1, bo, 0, NULL), ENOENT);
	CHECK_ERR(dev_attach_(fd, ctx, bo + 1, 0, NULL), ENOENT);
	CHECK_ERR(dev_attach_(fd, ctx, bo, 2, NULL), EINVAL);
	CHECK_ERR(dev_attach_(fd, ctx, bo, 1u << 31, NULL), EINVAL);
	CHECK_ERR(dev_detach_(fd, ctx, 0), ENOENT);
	CHECK_ERR(dev_detach_(fd, ctx, att + 1), ENOENT);
	CHECK_ERR(dev_detach_(fd, ctx + 1, att), ENOENT);
	/* A buffer may be attached often. */
	CHECK_EQ(dev_attach_(fd, ctx, bo, DRM_LINNET_ATTACH_READ_ONLY, &more), 0);
	CHECK(more != att);
	CHECK(dev_bo_state(fd, bo) & DRM_LINNET_BO_ATTACHED);
	CHECK_EQ(dev_detach_(fd, ctx, att), 0);
	CHECK(dev_bo_state(fd, bo) & DRM_LINNET_BO_ATTACHED);
	CHECK_EQ(dev_detach_(fd, ctx, more), 0);
	CHECK(!(dev_bo_state(fd, bo) & DRM_LINNET_BO_ATTACHED));
	CHECK_ERR(dev_detach_(fd, ctx, more), ENOENT);
}

TEST(attach_limit)
{
	struct drm_linnet_dev_info info;
	int fd = dev_open();
	uint32_t ctx = dev_ctx(fd), bo = dev_bo(fd, 4096), i;

	dev_info(fd, &info);
	for (i = 0; i < info.max_attachments; i++)
		CHECK_EQ(dev_attach(fd, ctx, bo), i + 1);
	CHECK_ERR(dev_attach_(fd, ctx, bo, 0, NULL), ENOSPC);
	CHECK_EQ(dev_detach_(fd, ctx, 77), 0);
	CHECK_EQ(dev_attach(fd, ctx, bo), 77);
}

TEST(stream_rejected)
{
	static uint64_t data[1 << 15];
	struct linnet_stream_header *head = (void *)data;
	struct linnet_stream_param *param = (void *)(head + 1);
	struct drm_linnet_sim_op *op;
	struct drm_linnet_stream_create c;
	struct drm_linnet_dev_info info;
	int fd = dev_open();
	uint32_t ctx = dev_ctx(fd), size, stream;
	struct sim s;

	dev_info(fd, &info);
	sim_init(&s, 2);
	s.n_params = 1;
	s.param[0].max = 5;
	sim_copy(&s, 1, 0, 8);
	sim_fill(&s, 1, 3, 8);
	sim_delay(&s, 1);
	sim_op(&s, DRM_LINNET_SIM_HANG);
	sim_op(&s, DRM_LINNET_SIM_FAULT)->value = 5;
	sim_checksum(&s, 1, 0, 8);
	size = sim_data(&s, data);
	op = (void *)(param + 1);
	CHECK_EQ(dev_stream_(fd, ctx, data, size, &stream), 0);

	CHECK_ERR(dev_stream_(fd, ctx + 1, data, size, NULL), ENOENT);
	CHECK_ERR(dev_stream_(fd, ctx, data, 0, NULL), EINVAL);
	CHECK_ERR(dev_stream_(fd, ctx, data, size - 8, NULL), EINVAL);
	CHECK_ERR(dev_stream_(fd, ctx, data, size + 8, NULL), EINVAL);
	CHECK_ERR(dev_stream_(fd, ctx, data, 16, NULL), EINVAL);
	CHECK_ERR(dev_stream_(fd, ctx, data, info.max_stream_bytes + 8, NULL), E2BIG);
	CHECK_ERR(dev_stream_(fd, ctx, NULL, size, NULL), EFAULT);
	c = (struct drm_linnet_stream_create){
		.ctx = ctx, .size = size, .ptr = (uintptr_t)data, .flags = 1,
	};
	CHECK_ERR(dev_ioctl(fd, DRM_IOCTL_LINNET_STREAM_CREATE, &c), EINVAL);

#define REJECT(field, value, error) do { \
	typeof(field) was = field; \
	field = value; \
	CHECK_ERR(dev_stream_(fd, ctx, data, size, NULL), error); \
	field = was; \
} while (0)
	REJECT(head->magic, LINNET_STREAM_MAGIC, EINVAL);
	REJECT(head->version, 2, EINVAL);
	REJECT(head->bytes, size + 8, EINVAL);
	REJECT(head->n_params, LINNET_MAX_PARAMS + 1, E2BIG);
	REJECT(head->n_params, 2, EINVAL);
	REJECT(head->n_slots, LINNET_MAX_SLOTS + 1, E2BIG);
	REJECT(head->n_slots, 1, EINVAL);
	REJECT(head->n_ops, 0, EINVAL);
	REJECT(head->n_ops, 7, EINVAL);
	REJECT(head->n_ops, LINNET_MAX_OPS + 1, E2BIG);
	REJECT(param->reserved, 1, EINVAL);
	REJECT(op[0].code, 0, EINVAL);
	REJECT(op[0].code, 7, EINVAL);
	REJECT(op[0].dst_slot, 2, EINVAL);
	REJECT(op[0].src_slot, 2, EINVAL);
	REJECT(op[0].param, 0, EINVAL);
	REJECT(op[0].value, 1, EINVAL);
	REJECT(op[1].src_slot, 1, EINVAL);
	REJECT(op[1].src_offset, 1, EINVAL);
	REJECT(op[1].param, 1, EINVAL);
	REJECT(op[2].dst_slot, 1, EINVAL);
	REJECT(op[2].dst_offset, 1, EINVAL);
	REJECT(op[2].length, 1, EINVAL);
	REJECT(op[3].value, 1, EINVAL);
	REJECT(op[4].value, 0, EINVAL);
	REJECT(op[4].value, 4096, EINVAL);
#undef REJECT
	CHECK_ERR(dev_stream_destroy_(fd, ctx, stream + 1), ENOENT);
	CHECK_ERR(dev_stream_destroy_(fd, ctx, 0), ENOENT);
	CHECK_ERR(dev_stream_destroy_(fd, ctx + 1, stream), ENOENT);
	CHECK_EQ(dev_stream_destroy_(fd, ctx, stream), 0);
	CHECK_ERR(dev_stream_destroy_(fd, ctx, stream), ENOENT);
}

/* The stream is copied: who changes the memory afterwards changes nothing. */
TEST(stream_copied)
{
	static uint64_t data[64];
	int fd = dev_open();
	uint32_t ctx = dev_ctx(fd), bo = dev_bo(fd, 4096), stream, size;
	uint8_t *map = dev_map(fd, bo, 4096);
	struct sim s;
	struct sub j;

	sim_init(&s, 1);
	sim_fill(&s, 0, 1, 4);
	size = sim_data(&s, data);
	CHECK_EQ(dev_stream_(fd, ctx, data, size, &stream), 0);
	memset(data, 0xff, sizeof(data));
	sub_init(&j, ctx, stream);
	sub_bind(&j, 0, dev_attach(fd, ctx, bo), 0, 4096);
	CHECK_EQ(sub_run(fd, &j), 0);
	CHECK_EQ(map[3], 1);
}

/* Arguments of older and newer programs. */
TEST(argument_sizes)
{
	struct { struct drm_linnet_bo_create a; uint64_t more[4]; } wide = { };
	int fd = dev_open();

	wide.a.size = 4096;
	CHECK_EQ(ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, 'd', DRM_COMMAND_BASE +
				DRM_LINNET_BO_CREATE, sizeof(wide)), &wide), 0);
	CHECK(wide.a.handle);
	CHECK_ERR(ioctl(fd, _IO('d', DRM_COMMAND_BASE + DRM_LINNET_BO_CREATE)), EINVAL);
	CHECK_ERR(ioctl(fd, DRM_IO(DRM_COMMAND_BASE + DRM_LINNET_CANCEL + 1)), EINVAL);
	CHECK_ERR(ioctl(fd, DRM_IOCTL_LINNET_BO_CREATE, NULL), EFAULT);
}

static volatile int stop;

static void *storm(void *arg)
{
	while (!stop) {
		syscall(SYS_tgkill, getpid(), *(pid_t *)arg, SIGUSR1);
		sleep_ms(1);
	}
	return NULL;
}

static void nothing(int sig)
{
}

/* Signals interrupt commands before they have an effect, or not at all. */
TEST(signal_storm)
{
	struct sigaction sa = { .sa_handler = nothing, .sa_flags = SA_RESTART };
	pid_t tid = getpid();
	pthread_t thread;
	int fd = dev_open(), i;

	sigaction(SIGUSR1, &sa, NULL);
	CHECK(!pthread_create(&thread, NULL, storm, &tid));
	for (i = 0; i < 100; i++) {
		uint32_t ctx = dev_ctx(fd), bo = dev_bo(fd, 65536), att = 0, stream;
		struct sim s;
		struct sub j;
		int ret;

		do {
			ret = dev_attach_(fd, ctx, bo, 0, &att);
		} while (ret && errno == EINTR);
		CHECK_EQ(ret, 0);
		CHECK_EQ(att, 1);
		sim_init(&s, 1);
		sim_delay(&s, 500);
		sim_fill(&s, 0, i, 65536);
		{
			static uint64_t data[64];
			uint32_t size = sim_data(&s, data);

			do {
				ret = dev_stream_(fd, ctx, data, size, &stream);
			} while (ret && errno == EINTR);
			CHECK_EQ(ret, 0);
		}
		sub_init(&j, ctx, stream);
		sub_bind(&j, 0, att, 0, 65536);
		do {
			ret = dev_submit_(fd, &j.args);
		} while (ret && errno == EINTR);
		CHECK_EQ(ret, 0);
		do {
			ret = dev_wait_(fd, bo, FOREVER);
		} while (ret && errno == EINTR);
		CHECK_EQ(ret, 0);
		CHECK_EQ(*(uint8_t *)dev_map(fd, bo, 65536), i);
		do {
			ret = dev_detach_(fd, ctx, att);
		} while (ret && errno == EINTR);
		CHECK_EQ(ret, 0);
		CHECK_EQ(dev_ctx_destroy_(fd, ctx), 0);
		CHECK_EQ(dev_close_(fd, bo), 0);
	}
	stop = 1;
	pthread_join(thread, NULL);
}

/* Nothing of the kernel's memory comes out in fields that a command does not set. */
TEST(no_leftovers)
{
	struct drm_linnet_bo_info info;
	int fd = dev_open(), i;
	uint32_t bo = dev_bo(fd, 4096);

	for (i = 0; i < 16; i++) {
		memset(&info, 0xa5, sizeof(info));
		info.handle = bo;
		CHECK_EQ(dev_ioctl(fd, DRM_IOCTL_LINNET_BO_INFO, &info), 0);
		CHECK(!info.state && info.size == 4096 && info.resident <= 4096);
	}
}

/* What the device refuses or has no memory for leaves nothing behind. */
TEST(device_failures)
{
	struct drm_linnet_ctx_create c = { .priority = DRM_LINNET_PRIORITY_NORMAL };
	int fd = dev_open();
	uint32_t ctx = dev_ctx(fd), bo = dev_bo(fd, 4096), stream;
	static uint64_t data[64];
	struct sim s;
	struct sub j;

	dev_fail("ctx_create", 1);
	CHECK_ERR(dev_ioctl(fd, DRM_IOCTL_LINNET_CTX_CREATE, &c), EIO);
	dev_fail("attach", 1);
	CHECK_ERR(dev_attach_(fd, ctx, bo, 0, NULL), EIO);
	CHECK(!(dev_bo_state(fd, bo) & DRM_LINNET_BO_ATTACHED));
	CHECK_EQ(dev_attach(fd, ctx, bo), 1);
	sim_init(&s, 0);
	sim_delay(&s, 1);
	dev_fail("stream_create", 1);
	CHECK_ERR(dev_stream_(fd, ctx, data, sim_data(&s, data), NULL), EIO);
	CHECK_EQ(dev_stream_(fd, ctx, data, sim_data(&s, data), &stream), 0);
	CHECK_EQ(stream, 1);
	sub_init(&j, ctx, stream);
	dev_fail("job_init", 1);
	CHECK_ERR(dev_submit_(fd, &j.args), ENOMEM);
	dev_fail("queue", 1);
	CHECK_EQ(sub_run(fd, &j), -EIO);
	CHECK_EQ(sub_run(fd, &j), 0);
}

TEST_MAIN
