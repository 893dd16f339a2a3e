// SPDX-License-Identifier: MIT
/* The commands of the driver for tests, see dev.h. */
#include "dev.h"

#include <linux/loop.h>
#include <linux/sync_file.h>
#include <linux/types.h>
#include <sched.h>

int dev_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg);
}

static int is_linnet(int fd)
{
	char name[16] = "";
	struct drm_version v = { .name = name, .name_len = sizeof(name) - 1 };

	return !ioctl(fd, DRM_IOCTL_VERSION, &v) && !strcmp(name, "linnet");
}

int dev_open_nth(int n, char *path, size_t size)
{
	const char *node = getenv("LINNET_TEST_NODE");
	struct drm_linnet_dev_info info;
	int i, fd, seen = 0;

	if (!n && node && *node) {
		snprintf(path, size, "%s", node);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0 || !is_linnet(fd))
			test_leave(1, "%s is no Linnet device (LINNET_TEST_NODE)", path);
		return fd;
	}
	for (i = 0; i < 64; i++) {
		snprintf(path, size, "/dev/accel/accel%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (is_linnet(fd)) {
			dev_info(fd, &info);
			if (info.engine == DRM_LINNET_ENGINE_SIM && seen++ == n)
				return fd;
		}
		close(fd);
	}
	SKIP("there is no simulated device %d (modprobe linnet sim=%d)", n, n + 1);
}

int dev_open(void)
{
	char path[64];

	return dev_open_nth(0, path, sizeof(path));
}

void dev_name(char *name, size_t size)
{
	char node[64], path[128], link[256];
	ssize_t n;

	close(dev_open_nth(0, node, sizeof(node)));
	snprintf(path, sizeof(path), "/sys/class/accel/%s/device", strrchr(node, '/') + 1);
	n = readlink(path, link, sizeof(link) - 1);
	CHECK(n > 0);
	link[n] = 0;
	snprintf(name, size, "%s", strrchr(link, '/') + 1);
}

void dev_debugfs(char *path, size_t size)
{
	char name[64];

	dev_name(name, sizeof(name));
	snprintf(path, size, "/sys/kernel/debug/accel/%s", name);
	if (access(path, X_OK))
		SKIP("%s is not there (debugfs, and being root)", path);
}

void dev_fail(const char *what, unsigned int n)
{
	char path[256], dir[160];
	FILE *f;

	dev_debugfs(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/sim/fail_%s", dir, what);
	f = fopen(path, "w");
	CHECK(f);
	fprintf(f, "%u\n", n);
	CHECK(!fclose(f));
}

/* Write the time limit of jobs. */
static void dev_timeout(const char *ms)
{
	char path[256], dir[160];

	dev_debugfs(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/timeout_ms", dir);
	CHECK_EQ(dev_write(path, ms), 0);
}

void dev_patience(void)
{
	dev_timeout("60000");
}

void dev_hurry(void)
{
	char ms[32] = "";
	FILE *f = fopen("/sys/module/linnet/parameters/timeout_ms", "r");

	CHECK(f && fgets(ms, sizeof(ms), f));
	fclose(f);
	dev_timeout(ms);
}

void dev_asleep(pid_t pid)
{
	char path[64], text[512], *state;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	do {
		sched_yield();
		f = fopen(path, "r");
		CHECK(f && fgets(text, sizeof(text), f));
		fclose(f);
		state = strrchr(text, ')');
		CHECK(state && state[2] != 'Z');
	} while (state[2] != 'S');
}

long long dev_state(const char *key)
{
	char path[256], dir[160], line[256];
	long long value = -1;
	FILE *f;

	dev_debugfs(dir, sizeof(dir));
	snprintf(path, sizeof(path), "%s/linnet_state", dir);
	f = fopen(path, "r");
	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)) && line[strlen(key)] == ' ')
			value = strtoll(line + strlen(key), NULL, 0);
	fclose(f);
	return value;
}

int dev_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), ret;

	if (fd < 0)
		return -1;
	ret = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
	close(fd);
	return ret;
}

/* The number behind a key of a file, or 0. */
static long long number_of(const char *path, const char *key)
{
	const size_t n = strlen(key);
	long long value = 0;
	char line[128];
	FILE *f = fopen(path, "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, key, n))
			value = strtoll(line + n, NULL, 10);
	fclose(f);
	return value;
}

struct dev_memory dev_memory(void)
{
	struct dev_memory m;

	/* each processor counts for itself until it is asked */
	dev_write("/proc/sys/vm/stat_refresh", "1");
	m.shmem = number_of("/proc/meminfo", "Shmem:");
	m.pinned = number_of("/proc/vmstat", "nr_foll_pin_acquired ") -
		   number_of("/proc/vmstat", "nr_foll_pin_released ");
	return m;
}

void dev_nothing_left(const struct dev_memory *before)
{
	struct dev_memory now;
	int i;

	for (i = 0; i < 3000; i++) {
		now = dev_memory();
		if (dev_state("context") == -1 && dev_state("purgeable pages") == 0 &&
		    now.shmem <= before->shmem + 64 && now.pinned <= before->pinned)
			break;
		sleep_ms(20);
	}
	CHECK_EQ(dev_state("context"), -1);
	CHECK_EQ(dev_state("purgeable pages"), 0);
	CHECK_EQ(dev_state("held by the device"), 0);
	CHECK(now.shmem <= before->shmem + 64);
	CHECK(now.pinned <= before->pinned);
}

struct io_uring_sqe *dev_prep(struct io_uring *ring, int fd, uint32_t op, void *args,
			      uint32_t size)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct drm_linnet_uring_cmd payload = { .ptr = (uintptr_t)args, .size = size };

	if (!sqe)
		return NULL;
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = op;
	memcpy(sqe->cmd, &payload, sizeof(payload));
	return sqe;
}

void dev_info(int fd, struct drm_linnet_dev_info *info)
{
	struct drm_linnet_dev_query q = {
		.type = DRM_LINNET_QUERY_DEV_INFO, .size = sizeof(*info), .ptr = (uintptr_t)info,
	};

	CHECK_EQ(dev_ioctl(fd, DRM_IOCTL_LINNET_DEV_QUERY, &q), 0);
}

uint32_t dev_bo(int fd, uint64_t size)
{
	struct drm_linnet_bo_create args = { .size = size };

	CHECK_EQ(dev_ioctl(fd, DRM_IOCTL_LINNET_BO_CREATE, &args), 0);
	return args.handle;
}

void *dev_map(int fd, uint32_t handle, uint64_t size)
{
	struct drm_linnet_bo_mmap_offset args = { .handle = handle };
	void *map;

	CHECK_EQ(dev_ioctl(fd, DRM_IOCTL_LINNET_BO_MMAP_OFFSET, &args), 0);
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, args.offset);
	CHECK(map != MAP_FAILED);
	return map;
}

int dev_close_(int fd, uint32_t handle)
{
	struct drm_gem_close args = { .handle = handle };

	return dev_ioctl(fd, DRM_IOCTL_GEM_CLOSE, &args);
}

uint32_t dev_bo_state(int fd, uint32_t handle)
{
	struct drm_linnet_bo_info args = { .handle = handle };

	CHECK_EQ(dev_ioctl(fd, DRM_IOCTL_LINNET_BO_INFO, &args), 0);
	return args.state;
}

int dev_madvise_(int fd, uint32_t handle, uint32_t madv)
{
	struct drm_linnet_bo_madvise args = { .handle = handle, .madv = madv };

	return dev_ioctl(fd, DRM_IOCTL_LINNET_BO_MADVISE, &args) ? -1 : (int)args.retained;
}

int dev_wait_(int fd, uint32_t handle, int64_t timeout_ns)
{
	struct drm_linnet_bo_wait args = { .handle = handle, .timeout_ns = timeout_ns };

	return dev_ioctl(fd, DRM_IOCTL_LINNET_BO_WAIT, &args);
}

uint32_t dev_ctx_priority(int fd, uint32_t priority)
{
	struct drm_linnet_ctx_create args = { .priority = priority };

	CHECK_EQ(dev_ioctl(fd, DRM_IOCTL_LINNET_CTX_CREATE, &args), 0);
	CHECK(args.ctx);
	return args.ctx;
}

uint32_t dev_ctx(int fd)
{
	return dev_ctx_priority(fd, DRM_LINNET_PRIORITY_NORMAL);
}

int dev_ctx_destroy_(int fd, uint32_t ctx)
{
	struct drm_linnet_ctx_destroy args = { .ctx = ctx };

	return dev_ioctl(fd, DRM_IOCTL_LINNET_CTX_DESTROY, &args);
}

int dev_attach_(int fd, uint32_t ctx, uint32_t handle, uint32_t flags, uint32_t *out)
{
	struct drm_linnet_attach args = { .ctx = ctx, .handle = handle, .flags = flags };
	int ret = dev_ioctl(fd, DRM_IOCTL_LINNET_ATTACH, &args);

	if (!ret && out)
		*out = args.attachment;
	return ret;
}

uint32_t dev_attach(int fd, uint32_t ctx, uint32_t handle)
{
	uint32_t out = 0;

	CHECK_EQ(dev_attach_(fd, ctx, handle, 0, &out), 0);
	CHECK(out);
	return out;
}

int dev_detach_(int fd, uint32_t ctx, uint32_t attachment)
{
	struct drm_linnet_detach args = { .ctx = ctx, .attachment = attachment };

	return dev_ioctl(fd, DRM_IOCTL_LINNET_DETACH, &args);
}

int dev_stream_(int fd, uint32_t ctx, const void *data, uint32_t size, uint32_t *out)
{
	struct drm_linnet_stream_create args = {
		.ctx = ctx, .size = size, .ptr = (uintptr_t)data,
	};
	int ret = dev_ioctl(fd, DRM_IOCTL_LINNET_STREAM_CREATE, &args);

	if (!ret && out)
		*out = args.stream;
	return ret;
}

int dev_stream_destroy_(int fd, uint32_t ctx, uint32_t stream)
{
	struct drm_linnet_stream_destroy args = { .ctx = ctx, .stream = stream };

	return dev_ioctl(fd, DRM_IOCTL_LINNET_STREAM_DESTROY, &args);
}

int dev_submit_(int fd, struct drm_linnet_submit *args)
{
	return dev_ioctl(fd, DRM_IOCTL_LINNET_SUBMIT, args);
}

int dev_cancel_(int fd, uint32_t ctx, uint64_t job)
{
	struct drm_linnet_cancel args = { .ctx = ctx, .job = job };

	return dev_ioctl(fd, DRM_IOCTL_LINNET_CANCEL, &args);
}

int dev_prime_export_(int fd, uint32_t handle)
{
	struct drm_prime_handle args = { .handle = handle, .flags = DRM_CLOEXEC | DRM_RDWR };

	return dev_ioctl(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &args) ? -1 : args.fd;
}

int dev_prime_import_(int fd, int dma_buf, uint32_t *handle)
{
	struct drm_prime_handle args = { .fd = dma_buf };
	int ret = dev_ioctl(fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &args);

	*handle = args.handle;
	return ret;
}

uint32_t dev_syncobj(int fd)
{
	struct drm_syncobj_create args = { };

	CHECK_EQ(dev_ioctl(fd, DRM_IOCTL_SYNCOBJ_CREATE, &args), 0);
	return args.handle;
}

int dev_sync_wait_(int fd, uint32_t syncobj, uint64_t point, int64_t timeout_ns)
{
	struct drm_syncobj_timeline_wait args = {
		.handles = (uintptr_t)&syncobj, .points = (uintptr_t)&point,
		.timeout_nsec = timeout_ns, .count_handles = 1,
	};

	return dev_ioctl(fd, DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT, &args);
}

int dev_sync_result(int fd, uint32_t syncobj)
{
	return dev_sync_result_at(fd, syncobj, NULL);
}

int dev_sync_result_at(int fd, uint32_t syncobj, uint64_t *ns)
{
	struct sync_fence_info fence[4] = { };
	struct sync_file_info info = { .num_fences = 4, .sync_fence_info = (uintptr_t)fence };
	struct drm_syncobj_handle args = {
		.handle = syncobj, .flags = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE,
	};

	CHECK_EQ(dev_sync_wait_(fd, syncobj, 0, FOREVER), 0);
	CHECK_EQ(dev_ioctl(fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &args), 0);
	CHECK_EQ(ioctl(args.fd, SYNC_IOC_FILE_INFO, &info), 0);
	CHECK_EQ(info.num_fences, 1);
	close(args.fd);
	CHECK(fence[0].status);
	if (ns)
		*ns = fence[0].timestamp_ns;
	return fence[0].status < 0 ? fence[0].status : 0;
}

void sim_init(struct sim *s, uint32_t n_slots)
{
	memset(s, 0, sizeof(*s));
	s->n_slots = n_slots;
}

struct drm_linnet_sim_op *sim_op(struct sim *s, uint32_t code)
{
	struct drm_linnet_sim_op *op = &s->op[s->n_ops++];

	op->code = code;
	op->param = DRM_LINNET_SIM_NONE;
	return op;
}

void sim_copy(struct sim *s, uint32_t dst, uint32_t src, uint64_t length)
{
	struct drm_linnet_sim_op *op = sim_op(s, DRM_LINNET_SIM_COPY);

	op->dst_slot = dst;
	op->src_slot = src;
	op->length = length;
}

void sim_fill(struct sim *s, uint32_t dst, uint8_t value, uint64_t length)
{
	struct drm_linnet_sim_op *op = sim_op(s, DRM_LINNET_SIM_FILL);

	op->dst_slot = dst;
	op->value = value;
	op->length = length;
}

void sim_checksum(struct sim *s, uint32_t dst, uint32_t src, uint64_t length)
{
	struct drm_linnet_sim_op *op = sim_op(s, DRM_LINNET_SIM_CHECKSUM);

	op->dst_slot = dst;
	op->src_slot = src;
	op->length = length;
	op->value = 0xcbf29ce484222325;
}

void sim_delay(struct sim *s, uint64_t us)
{
	sim_op(s, DRM_LINNET_SIM_DELAY)->value = us;
}

uint32_t sim_data(const struct sim *s, void *data)
{
	struct linnet_stream_header *head = data;
	char *at = data;

	*head = s->head;
	head->magic = DRM_LINNET_SIM_MAGIC;
	head->version = DRM_LINNET_SIM_VERSION;
	head->n_params = s->n_params;
	head->n_slots = s->n_slots;
	head->n_ops = s->n_ops;
	at += sizeof(*head);
	memcpy(at, s->param, s->n_params * sizeof(s->param[0]));
	at += s->n_params * sizeof(s->param[0]);
	memcpy(at, s->op, s->n_ops * sizeof(s->op[0]));
	at += s->n_ops * sizeof(s->op[0]);
	return head->bytes = at - (char *)data;
}

uint32_t sim_create(int fd, uint32_t ctx, const struct sim *s)
{
	static uint64_t data[sizeof(struct sim) / 8 + 1];
	uint32_t stream = 0;

	CHECK_EQ(dev_stream_(fd, ctx, data, sim_data(s, data), &stream), 0);
	CHECK(stream);
	return stream;
}

uint32_t sim_simple(int fd, uint32_t ctx, uint32_t code, uint64_t value)
{
	struct sim s;

	sim_init(&s, 0);
	sim_op(&s, code)->value = value;
	return sim_create(fd, ctx, &s);
}

uint32_t dev_any_stream(int fd, void *data)
{
	struct linnet_operand dst = {
		.type = LINNET_TYPE_F32, .n_dims = 2, .ne = { 4, 1, 1, 1 }, .nb = { 16 },
	}, a = dst, b = dst;
	struct {
		struct linnet_stream_header head;
		struct linnet_stream_op op;
		struct linnet_operand operand[3];
	} add = {
		.head = { LINNET_STREAM_MAGIC, LINNET_STREAM_VERSION, sizeof(add), 0, 1, 1 },
		.op = { .code = LINNET_OP_ADD, .n_operands = 3 },
	};
	struct drm_linnet_dev_info info;
	struct sim s;

	dev_info(fd, &info);
	if (info.engine == DRM_LINNET_ENGINE_SIM) {
		sim_init(&s, 1);
		sim_delay(&s, 1);
		sim_fill(&s, 0, 1, 48);
		return sim_data(&s, data);
	}
	a.offset = 16;
	b.offset = 32;
	memcpy(add.operand, (struct linnet_operand[]){ dst, a, b }, sizeof(add.operand));
	memcpy(data, &add, sizeof(add));
	return sizeof(add);
}

uint64_t fnv1a(const void *data, size_t n, uint64_t hash)
{
	const unsigned char *p = data;

	while (n--)
		hash = (hash ^ *p++) * 0x100000001b3;
	return hash;
}

void sub_init(struct sub *s, uint32_t ctx, uint32_t stream)
{
	memset(s, 0, sizeof(*s));
	s->args.ctx = ctx;
	s->args.stream = stream;
}

void sub_bind(struct sub *s, uint32_t slot, uint32_t attachment, uint64_t offset,
	      uint64_t length)
{
	s->binding[s->args.bindings.count++] = (struct drm_linnet_binding){
		.slot = slot, .attachment = attachment, .offset = offset, .length = length,
	};
	s->args.bindings.stride = sizeof(s->binding[0]);
	s->args.bindings.ptr = (uintptr_t)s->binding;
}

void sub_sync(struct sub *s, uint32_t flags, uint32_t syncobj, uint64_t point)
{
	s->sync[s->args.syncs.count++] = (struct drm_linnet_sync){
		.handle = syncobj, .flags = flags, .point = point,
	};
	s->args.syncs.stride = sizeof(s->sync[0]);
	s->args.syncs.ptr = (uintptr_t)s->sync;
}

int sub_run(int fd, struct sub *s)
{
	uint32_t sync = dev_syncobj(fd);
	struct drm_syncobj_destroy destroy = { .handle = sync };
	int ret;

	sub_sync(s, DRM_LINNET_SYNC_SIGNAL, sync, 0);
	ret = dev_submit_(fd, &s->args);
	if (!ret)
		ret = dev_sync_result(fd, sync);
	else
		ret = -errno;
	if (!--s->args.syncs.count)
		memset(&s->args.syncs, 0, sizeof(s->args.syncs));
	CHECK_EQ(dev_ioctl(fd, DRM_IOCTL_SYNCOBJ_DESTROY, &destroy), 0);
	return ret;
}

long long dev_fdinfo(int fd, const char *key)
{
	char path[64], line[256], unit[16] = "";
	long long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, strlen(key)) || line[strlen(key)] != ':')
			continue;
		CHECK(sscanf(line + strlen(key) + 1, "%lld %15s", &value, unit) >= 1);
		if (!strcmp(unit, "KiB"))
			value *= 1024;
		else if (!strcmp(unit, "MiB"))
			value *= 1024 * 1024;
	}
	fclose(f);
	return value;
}

int dev_disk(size_t size)
{
	const char *given = getenv("LINNET_TEST_DISK");
	char path[64] = "/tmp/linnet-disk-XXXXXX", loop[64];
	struct loop_info64 info = { .lo_flags = LO_FLAGS_AUTOCLEAR };
	int file, ctl, n, fd = -1;
	size_t i;

	if (given && *given) {
		file = open(given, O_RDWR | O_CLOEXEC);
	} else {
		file = mkstemp(path);
		unlink(path);
	}
	CHECK(file >= 0);
	for (i = 0; i < size; i += sizeof(uint64_t) * 512) {
		uint64_t block[512];
		size_t k;

		for (k = 0; k < 512; k++)
			block[k] = (i / 8 + k) * 0x9e3779b97f4a7c15;
		CHECK(pwrite(file, block, sizeof(block), i) == sizeof(block));
	}
	fsync(file);
	if (given && *given) {
		close(file);
		fd = open(given, O_RDONLY | O_DIRECT | O_CLOEXEC);
		CHECK(fd >= 0);
		return fd;
	}
	ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	n = ctl < 0 ? -1 : ioctl(ctl, LOOP_CTL_GET_FREE);
	if (n < 0)
		SKIP("no block device for O_DIRECT: no loop devices, LINNET_TEST_DISK is not set");
	snprintf(loop, sizeof(loop), "/dev/loop%d", n);
	fd = open(loop, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0 && !ioctl(fd, LOOP_SET_FD, file));
	CHECK(!ioctl(fd, LOOP_SET_STATUS64, &info));
	n = open(loop, O_RDONLY | O_DIRECT | O_CLOEXEC);
	CHECK(n >= 0);
	return n;
}

int dev_disk_right(const void *map, size_t offset, size_t n)
{
	const uint64_t *word = map;
	size_t i;

	for (i = 0; i < n / 8; i++)
		if (word[i] != (offset / 8 + i) * 0x9e3779b97f4a7c15)
			return 0;
	return 1;
}
