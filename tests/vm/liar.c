// SPDX-License-Identifier: MIT
/*
 * A device that lies to its driver, for tests of the driver: linnet device, with the
 * functions that speak to the guest replaced (ld --wrap). Serves one connection.
 *
 * usage: liar SOCKET LIE SEED
 *
 *	version		configuration: a version that no driver knows
 *	limits		configuration: requests of 4096 bytes at the most
 *	isa		configuration: control characters for a name
 *	feature		no VIRTIO_F_VERSION_1
 *	used		used elements with numbers at random
 *	length		used lengths at random
 *	status		statuses at random
 *	twice		buffers that come back twice
 *	index		an index of the used ring that is ahead of what was used
 *	any		all of these about buffers, at random
 *	silent		after some time, nothing comes back
 *	platform	not a lie: VIRTIO_F_ACCESS_PLATFORM, as devices have it in front of which
 *			there may be an IOMMU or bounce buffers; here there must be no IOMMU
 *
 * Lies about buffers begin after the first of them, and are told one time in sixteen.
 */
#include "tools/device/device.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char *lie = "", *about = "";
static uint64_t seed = 88172645463325252u;
static unsigned n_pushed;

void __real_vq_push(struct vq *q, const struct guest_memory *m, const struct vq_chain *c,
		    const void *response, uint32_t bytes);
void __wrap_vq_push(struct vq *q, const struct guest_memory *m, const struct vq_chain *c,
		    const void *response, uint32_t bytes);
int __real_device_message(struct device *d, struct vhost_user_message *m, int *fds,
			  unsigned n_fds);
int __wrap_device_message(struct device *d, struct vhost_user_message *m, int *fds,
			  unsigned n_fds);

static uint32_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16);
}

static bool is(const char *what)
{
	return !strcmp(lie, what) || !strcmp(about, what);
}

void __wrap_vq_push(struct vq *q, const struct guest_memory *m, const struct vq_chain *c,
		    const void *response, uint32_t bytes)
{
	static const char *const about_buffers[] = { "status", "used", "twice", "length", "index" };
	const bool now = ++n_pushed > 20 && rnd() % 16 == 0;
	struct vq_chain other = *c;
	uint32_t words[4];

	if (!strcmp(lie, "any"))
		about = about_buffers[rnd() % 5];

	if (is("silent") && n_pushed > 40)
		return;
	memcpy(words, response, sizeof(words));
	if (now && is("status"))
		words[0] = htole32(rnd() % 2 ? rnd() % 20 : rnd());
	if (now && is("used"))
		other.head = (uint16_t)(rnd() % 2 ? rnd() % 8 : rnd());
	__real_vq_push(q, m, &other, words, bytes);
	if (now && is("twice"))
		__real_vq_push(q, m, c, words, bytes);
	if (now && is("length") && q->desc)
		q->used->ring[(uint16_t)(q->used_idx - 1) % q->num].len =
			htole32(rnd() % 2 ? rnd() % 40 : rnd());
	if (now && is("index") && q->used)
		__atomic_store_n(&q->used->idx,
				 htole16((uint16_t)(q->used_idx + 1 + rnd() % (2 * q->num))),
				 __ATOMIC_RELEASE);
}

/* GET_FEATURES (1), SET_FEATURES (2) and GET_CONFIG (24). */
int __wrap_device_message(struct device *d, struct vhost_user_message *m, int *fds, unsigned n_fds)
{
	const uint32_t request = m->request, offset = m->config.offset;
	struct virtio_linnet_config c = { 0 };
	size_t n;
	int ret;

	/* SET_FEATURES: nothing is different for the device itself */
	if (request == 2 && is("platform"))
		m->u64 &= ~(1ull << 33);
	ret = __real_device_message(d, m, fds, n_fds);
	if (ret == 1 && request == 1 && is("platform"))
		m->u64 |= 1ull << 33;
	if (ret == 1 && request == 1 && is("feature"))
		m->u64 &= ~(1ull << 32);
	/* from the beginning, as drivers read it; often a part */
	if (ret != 1 || request != 24 || offset)
		return ret;
	n = m->config.size < sizeof(c) ? m->config.size : sizeof(c);
	memcpy(&c, m->config.data, n);
	if (is("version"))
		c.version = htole32(2);
	if (is("limits"))
		c.max_request_bytes = htole32(4096);
	if (is("isa"))
		memset(c.isa, 0x1b, sizeof(c.isa));
	memcpy(m->config.data, &c, n);
	return ret;
}

static void say(void *ctx, const char *line)
{
	fprintf(stderr, "%s\n", line);
}

int main(int argc, char **argv)
{
	const struct device_options opts = { .memory = 1 << 30, .n_threads = 2, .say = say };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct device *d;
	const char *why;
	int s, fd;

	if (argc != 4 || strlen(argv[1]) >= sizeof(a.sun_path)) {
		fprintf(stderr, "usage: liar SOCKET LIE SEED\n");
		return 2;
	}
	lie = argv[2];
	seed ^= strtoull(argv[3], NULL, 0) << 1;
	strcpy(a.sun_path, argv[1]);
	s = socket(AF_UNIX, SOCK_STREAM, 0);
	if (s < 0 || bind(s, (void *)&a, sizeof(a)) || listen(s, 1)) {
		perror(argv[1]);
		return 1;
	}
	fd = accept(s, NULL, NULL);
	if (fd < 0 || device_create(&d, &opts, &why)) {
		fprintf(stderr, "no device\n");
		return 1;
	}
	device_connection(d, fd);
	device_destroy(d);
	return 0;
}
