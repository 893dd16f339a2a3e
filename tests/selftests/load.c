// SPDX-License-Identifier: MIT
/*
 * The module comes and goes, with open files, mappings, exported buffers, fences and jobs
 * in flight: what is in use keeps it, what is only mapped does not, and nothing is left.
 *
 * LINNET_TEST_MODULE=FILE is the module, which is unloaded and loaded again (10 times;
 * with LINNET_TEST_LONG=1, 1,000), LINNET_TEST_PARAMS its parameters. Needs to be root.
 */
#include "dev.h"

#include <sys/syscall.h>

#define SIZE 65536

static const char *module, *params;

static void load(void)
{
	int fd = open(module, O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK_EQ(syscall(SYS_finit_module, fd, params, 0), 0);
	close(fd);
}

static int unload_(void)
{
	return syscall(SYS_delete_module, "linnet", O_NONBLOCK);
}

/* It is in use, now and some time later. */
static void kept(void)
{
	CHECK_ERR(unload_(), EWOULDBLOCK);
}

/* What was in use may be let go by a worker, or after a grace period. */
static void unload(void)
{
	int i;

	for (i = 0; unload_(); i++) {
		CHECK_EQ(errno, EWOULDBLOCK);
		CHECK(i < 1000);
		sleep_ms(5);
	}
}

/* Who uses the module, let go one after the other in an order that differs. */
struct users {
	int fd, dma_buf, fence;
	char *map;
};

static void use(struct users *u, int i)
{
	struct drm_syncobj_handle sync = {
		.flags = DRM_SYNCOBJ_HANDLE_TO_FD_FLAGS_EXPORT_SYNC_FILE,
	};
	uint32_t bo, ctx, att;
	struct sim s;
	struct sub j;

	u->fd = dev_open();
	ctx = dev_ctx(u->fd);
	bo = dev_bo(u->fd, SIZE);
	u->map = dev_map(u->fd, bo, SIZE);
	memset(u->map, i, SIZE);
	att = dev_attach(u->fd, ctx, bo);
	u->dma_buf = dev_prime_export_(u->fd, bo);
	CHECK(u->dma_buf >= 0);
	/* in flight when the file is closed, or not any more */
	sim_init(&s, 1);
	sim_delay(&s, i & 1 ? 10000000 : 1);
	sub_init(&j, ctx, sim_create(u->fd, ctx, &s));
	sub_bind(&j, 0, att, 0, SIZE);
	sync.handle = dev_syncobj(u->fd);
	sub_sync(&j, DRM_LINNET_SYNC_SIGNAL, sync.handle, 0);
	CHECK_EQ(dev_submit_(u->fd, &j.args), 0);
	CHECK_EQ(dev_ioctl(u->fd, DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, &sync), 0);
	u->fence = sync.fd;
}

static void let_go(struct users *u, int what)
{
	switch (what % 3) {
	case 0: close(u->fd); break;
	case 1: close(u->dma_buf); break;
	case 2: close(u->fence); break;
	}
}

TEST_LIMIT(unload_in_use, 24 * 3600)
{
	const char *longer = getenv("LINNET_TEST_LONG");
	int i, k, n = longer && *longer && strcmp(longer, "0") ? 1000 : 10;
	struct dev_memory before;
	struct users u;

	module = getenv("LINNET_TEST_MODULE");
	params = getenv("LINNET_TEST_PARAMS");
	if (!module || !*module)
		SKIP("LINNET_TEST_MODULE does not name the module");
	if (!params)
		params = "sim=1";
	if (unload_())
		SKIP("the module cannot be unloaded (%s)", strerror(errno));
	before = dev_memory();
	load();
	for (i = 0; i < n; i++) {
		use(&u, i);
		for (k = 0; k < 3; k++) {
			kept();
			let_go(&u, i / 2 + (i & 8 ? 3 - k : k));
		}
		/* a mapping is of memory, not of a device */
		unload();
		CHECK(u.map[0] == (char)i && u.map[SIZE - 1] == (char)i);
		if (i & 2)
			munmap(u.map, SIZE);
		load();
		if (!(i & 2))
			munmap(u.map, SIZE);
	}
	dev_nothing_left(&before);
}

TEST_MAIN
