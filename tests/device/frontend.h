/* SPDX-License-Identifier: MIT */
/*
 * The other side of a Linnet device, for tests: a vhost-user front end and a virtio
 * driver in one, whose guest is a memfd. Guest-physical memory has a hole: the first
 * half of the file is at FRONT_LOW, the second at FRONT_HIGH. What fails ends the test.
 */
#ifndef LINNET_TESTS_DEVICE_FRONTEND_H
#define LINNET_TESTS_DEVICE_FRONTEND_H

#include "tools/device/device.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define FRONT_BYTES	(64ull << 20)
#define FRONT_HALF	(FRONT_BYTES / 2)
#define FRONT_LOW	0x100000ull
#define FRONT_HIGH	(4ull << 30)
#define FRONT_USER	0x7f0000000000ull	/* the front end's own addresses */
#define FRONT_RING	64
#define FRONT_TIMEOUT	20000

#define FRONT_F_PROTOCOL (1ull << 30)

enum {
	FRONT_GET_FEATURES = 1, FRONT_SET_FEATURES = 2, FRONT_SET_OWNER = 3, FRONT_SET_MEM = 5,
	FRONT_NUM = 8, FRONT_ADDR = 9, FRONT_BASE = 10, FRONT_GET_BASE = 11, FRONT_KICK = 12,
	FRONT_CALL = 13, FRONT_GET_PROTOCOL = 15, FRONT_SET_PROTOCOL = 16, FRONT_QUEUES = 17,
	FRONT_ENABLE = 18, FRONT_BACKEND_FD = 21, FRONT_GET_CONFIG = 24,
	FRONT_GET_INFLIGHT = 31, FRONT_SET_INFLIGHT = 32, FRONT_RESET = 34,
};

#define front_must(cond) do {								\
	if (!(cond)) {									\
		printf("not ok - %s:%d: not true: %s\n", __FILE__, __LINE__, #cond);	\
		fflush(stdout);								\
		_exit(1);								\
	}										\
} while (0)

struct front_queue {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint64_t gpa;			/* of desc; the others follow, a page each */
	uint16_t next, seen;
	uint16_t free_at;		/* next descriptor */
	int kick, call;
};

struct front {
	int sock, memfd;
	char *mem;
	uint64_t top;			/* bytes of the file that are given out */
	bool event_idx, indirect;
	struct front_queue q[VIRTIO_LINNET_QUEUES];
};

/* --------------------------------------------------------------- memory */

static inline uint64_t front_gpa(uint64_t at)
{
	return at < FRONT_HALF ? FRONT_LOW + at : FRONT_HIGH + (at - FRONT_HALF);
}

static inline void *front_at(struct front *f, uint64_t gpa)
{
	return f->mem + (gpa >= FRONT_HIGH ? gpa - FRONT_HIGH + FRONT_HALF : gpa - FRONT_LOW);
}

/* Memory of the low half; zero-filled only the first time. */
static inline uint64_t front_alloc(struct front *f, uint64_t bytes, uint64_t align)
{
	uint64_t at = (f->top + align - 1) / align * align;

	front_must(at + bytes <= FRONT_HALF);
	f->top = at + bytes;
	return front_gpa(at);
}

/* ------------------------------------------------------------- messages */

static inline bool front_send(struct front *f, const struct vhost_user_message *m,
			      const int *fds, unsigned n_fds)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * 16)];
		struct cmsghdr align;
	} control = { { 0 } };
	struct iovec io = { (void *)m, VHOST_USER_HEADER + m->size };
	struct msghdr mh = { .msg_iov = &io, .msg_iovlen = 1 };

	if (n_fds) {
		struct cmsghdr *c;

		mh.msg_control = control.buf;
		mh.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
	}
	return sendmsg(f->sock, &mh, MSG_NOSIGNAL) == (ssize_t)io.iov_len;
}

/* Receive n bytes; false at the end of the connection. */
static inline bool front_recv(struct front *f, void *dst, size_t n)
{
	for (size_t have = 0; have < n;) {
		struct pollfd p = { f->sock, POLLIN, 0 };
		ssize_t r;

		front_must(poll(&p, 1, FRONT_TIMEOUT) == 1);
		r = recv(f->sock, (char *)dst + have, n - have, 0);
		if (r <= 0)
			return false;
		have += (size_t)r;
	}
	return true;
}

static inline bool front_reply(struct front *f, struct vhost_user_message *m)
{
	return front_recv(f, m, VHOST_USER_HEADER) && m->size <= sizeof(m->raw) &&
	       front_recv(f, m->raw, m->size);
}

/* A message that is answered, by itself or by REPLY_ACK; the answer's number. */
static inline uint64_t front_ask(struct front *f, struct vhost_user_message *m, const int *fds,
				 unsigned n_fds)
{
	m->flags = 1 | 8;
	front_must(front_send(f, m, fds, n_fds));
	front_must(front_reply(f, m));
	front_must(m->flags == (1 | 4));
	return m->u64;
}

static inline uint64_t front_ask_u64(struct front *f, uint32_t request, uint64_t v)
{
	struct vhost_user_message m = { .request = request, .size = 8, .u64 = v };

	return front_ask(f, &m, NULL, 0);
}

static inline uint64_t front_state(struct front *f, uint32_t request, uint32_t i, uint32_t num)
{
	return front_ask_u64(f, request, i | (uint64_t)num << 32);
}

static inline uint64_t front_fd(struct front *f, uint32_t request, uint64_t v, int fd)
{
	struct vhost_user_message m = { .request = request, .size = 8, .u64 = v };

	return front_ask(f, &m, &fd, 1);
}

static inline struct vhost_user_message front_memory_message(void)
{
	struct vhost_user_message m = { .request = FRONT_SET_MEM, .flags = 1, .size = 8 + 2 * 32 };

	m.memory.num = 2;
	m.memory.region[0].gpa = FRONT_LOW;
	m.memory.region[0].user = FRONT_USER;
	m.memory.region[0].bytes = m.memory.region[1].bytes = FRONT_HALF;
	m.memory.region[1].gpa = FRONT_HIGH;
	m.memory.region[1].user = FRONT_USER + (1ull << 40);
	m.memory.region[1].offset = FRONT_HALF;
	return m;
}

/* Tell the device where memory is. */
static inline uint64_t front_set_memory(struct front *f)
{
	struct vhost_user_message m = front_memory_message();
	const int fds[2] = { f->memfd, f->memfd };

	return front_ask(f, &m, fds, 2);
}

/* Make the guest, without a connection yet. */
static inline void front_init(struct front *f)
{
	memset(f, 0, sizeof(*f));
	f->memfd = memfd_create("guest", MFD_CLOEXEC);
	front_must(f->memfd >= 0 && !ftruncate(f->memfd, FRONT_BYTES));
	f->mem = mmap(NULL, FRONT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, f->memfd, 0);
	front_must(f->mem != MAP_FAILED);
	for (unsigned i = 0; i < VIRTIO_LINNET_QUEUES; i++) {
		struct front_queue *q = &f->q[i];

		q->gpa = front_alloc(f, 12288, 4096);
		q->desc = front_at(f, q->gpa);
		q->avail = front_at(f, q->gpa + 4096);
		q->used = front_at(f, q->gpa + 8192);
		q->kick = eventfd(0, EFD_CLOEXEC);
		q->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		front_must(q->kick >= 0 && q->call >= 0);
	}
	f->sock = -1;
}

static inline void front_free(struct front *f)
{
	for (unsigned i = 0; i < VIRTIO_LINNET_QUEUES; i++) {
		close(f->q[i].kick);
		close(f->q[i].call);
	}
	munmap(f->mem, FRONT_BYTES);
	close(f->memfd);
	if (f->sock >= 0)
		close(f->sock);
}

static inline uint64_t front_get(struct front *f, uint32_t request)
{
	struct vhost_user_message m = { .request = request, .flags = 1 };

	front_must(front_send(f, &m, NULL, 0) && front_reply(f, &m));
	return m.u64;
}

/* What a driver does at its start, over f->sock, up to its queues. */
static inline void front_negotiate(struct front *f)
{
	struct vhost_user_message m;
	uint64_t protocol, features = 1ull << VIRTIO_F_VERSION_1 | FRONT_F_PROTOCOL;

	if (f->event_idx)
		features |= 1ull << VIRTIO_RING_F_EVENT_IDX;
	if (f->indirect)
		features |= 1ull << VIRTIO_RING_F_INDIRECT_DESC;
	front_must((front_get(f, FRONT_GET_FEATURES) & features) == features);
	/* as virtio_uml does it: this message is to be answered, too */
	protocol = front_get(f, FRONT_GET_PROTOCOL);
	front_must(!front_ask_u64(f, FRONT_SET_PROTOCOL, protocol));
	front_must(!front_ask_u64(f, FRONT_SET_FEATURES, features));
	m = (struct vhost_user_message){ .request = FRONT_SET_OWNER };
	front_must(!front_ask(f, &m, NULL, 0));
	front_must(front_get(f, FRONT_QUEUES) == VIRTIO_LINNET_QUEUES);
	front_must(!front_set_memory(f));
}

/* A queue that goes on at a request, whatever is in its memory. */
static inline void front_resume_queue(struct front *f, unsigned i, uint16_t base)
{
	struct front_queue *q = &f->q[i];
	struct vhost_user_message m = { .request = FRONT_ADDR, .size = sizeof(m.addr) };
	const uint64_t user = FRONT_USER + (q->gpa - FRONT_LOW);

	front_must(!front_state(f, FRONT_NUM, i, FRONT_RING));
	front_must(!front_state(f, FRONT_BASE, i, base));
	m.addr.index = i;
	m.addr.desc = user;
	m.addr.avail = user + 4096;
	m.addr.used = user + 8192;
	front_must(!front_ask(f, &m, NULL, 0));
	front_must(!front_fd(f, FRONT_KICK, i, q->kick));
	front_must(!front_fd(f, FRONT_CALL, i, q->call));
	front_must(!front_state(f, FRONT_ENABLE, i, 1));
}

static inline void front_start_queue(struct front *f, unsigned i)
{
	struct front_queue *q = &f->q[i];

	memset(q->desc, 0, 12288);
	q->next = q->seen = q->free_at = 0;
	front_resume_queue(f, i, 0);
}

static inline void front_start(struct front *f)
{
	front_negotiate(f);
	for (unsigned i = 0; i < VIRTIO_LINNET_QUEUES; i++)
		front_start_queue(f, i);
}

static inline struct virtio_linnet_config front_config(struct front *f)
{
	struct vhost_user_message m = { .request = FRONT_GET_CONFIG, .flags = 1 };
	struct virtio_linnet_config c;

	m.config.size = sizeof(c);
	m.size = 12 + sizeof(c);
	front_must(front_send(f, &m, NULL, 0) && front_reply(f, &m));
	front_must(m.size == 12 + sizeof(c));
	memcpy(&c, m.config.data, sizeof(c));
	return c;
}

/* ---------------------------------------------------------------- queues */

/* Make the chain at head available, without a kick. */
static inline void front_offer(struct front *f, unsigned i, uint16_t head)
{
	struct front_queue *q = &f->q[i];

	q->avail->ring[q->next % FRONT_RING] = htole16(head);
	__atomic_store_n(&q->avail->idx, htole16(++q->next), __ATOMIC_RELEASE);
}

static inline void front_kick(struct front *f, unsigned i)
{
	const uint64_t one = 1;

	front_must(write(f->q[i].kick, &one, sizeof(one)) == sizeof(one));
}

/*
 * Queue a request and room for a response, both guest-physical; returns the head.
 * `pieces` cuts the request into so many descriptors.
 */
static inline uint16_t front_queue(struct front *f, unsigned i, uint64_t out, uint32_t n_out,
				   unsigned pieces, uint64_t in, uint32_t n_in)
{
	struct front_queue *q = &f->q[i];
	const uint16_t n = f->indirect ? 1 : (uint16_t)(pieces + 1);
	const uint16_t head = q->free_at + n > FRONT_RING ? 0 : q->free_at;
	struct vring_desc *d = &q->desc[head];
	uint16_t at = head;

	q->free_at = head + n;
	if (f->indirect) {
		uint64_t table = front_alloc(f, (pieces + 1) * sizeof(*d), 16);

		*d = (struct vring_desc){ htole64(table), htole32((pieces + 1) * sizeof(*d)),
					  htole16(VRING_DESC_F_INDIRECT), 0 };
		d = front_at(f, table);
		at = 0;
	}
	for (unsigned k = 0; k < pieces; k++) {
		uint32_t part = k + 1 < pieces ? n_out / pieces : n_out;

		*d++ = (struct vring_desc){ htole64(out), htole32(part),
					    htole16(VRING_DESC_F_NEXT), htole16(++at) };
		out += part;
		n_out -= part;
	}
	*d = (struct vring_desc){ htole64(in), htole32(n_in), htole16(VRING_DESC_F_WRITE), 0 };
	front_offer(f, i, head);
	return head;
}

/* Wait for the next used element; false when the time is over. */
static inline bool front_wait(struct front *f, unsigned i, uint32_t *id, uint32_t *len, int ms)
{
	struct front_queue *q = &f->q[i];
	struct pollfd p = { q->call, POLLIN, 0 };
	uint64_t n;

	while (le16toh(__atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE)) == q->seen) {
		if (f->event_idx) {
			__atomic_store_n(&q->avail->ring[FRONT_RING], htole16(q->seen),
					 __ATOMIC_SEQ_CST);
			if (le16toh(__atomic_load_n(&q->used->idx, __ATOMIC_SEQ_CST)) != q->seen)
				break;
		}
		if (poll(&p, 1, ms) != 1 || read(q->call, &n, sizeof(n)) != sizeof(n))
			return false;
	}
	*id = le32toh(q->used->ring[q->seen % FRONT_RING].id);
	*len = le32toh(q->used->ring[q->seen % FRONT_RING].len);
	q->seen++;
	return true;
}

/* Send n bytes through a queue in some pieces, and wait for 16 bytes of response. */
static inline void front_exchange(struct front *f, unsigned i, const void *request, uint32_t n,
				  unsigned pieces, void *response)
{
	const uint64_t top = f->top, out = front_alloc(f, n + 1, 16), in = front_alloc(f, 16, 16);
	uint32_t id, len;
	uint16_t head;

	memcpy(front_at(f, out), request, n);
	memset(front_at(f, in), 0xff, 16);
	head = front_queue(f, i, out, n, pieces, in, 16);
	front_kick(f, i);
	front_must(front_wait(f, i, &id, &len, FRONT_TIMEOUT));
	front_must(id == head && len == 16);
	memcpy(response, front_at(f, in), 16);
	f->top = top;
}

/* A control request and its status. */
static inline uint32_t front_control(struct front *f, const void *request, uint32_t n,
				     struct virtio_linnet_response *response)
{
	struct virtio_linnet_response r;

	front_exchange(f, VIRTIO_LINNET_CONTROLQ, request, n, n > 40 ? 3 : 1, &r);
	if (response)
		*response = r;
	return le32toh(r.status);
}

static inline struct virtio_linnet_head front_head(uint32_t type, uint32_t ctx, uint32_t id)
{
	return (struct virtio_linnet_head){ htole32(type), htole32(ctx), htole32(id), 0 };
}

/* A request that is its head. */
static inline uint32_t front_simple(struct front *f, uint32_t type, uint32_t ctx, uint32_t id)
{
	const struct virtio_linnet_head h = front_head(type, ctx, id);

	return front_control(f, &h, sizeof(h), NULL);
}

static inline uint32_t front_ctx(struct front *f, uint32_t ctx)
{
	const struct virtio_linnet_ctx_create r = {
		front_head(VIRTIO_LINNET_CTX_CREATE, ctx, 0), 0, 0 };

	return front_control(f, &r, sizeof(r), NULL);
}

/* Attach pages of the guest as one resource, at most `piece` of them with a request. */
static inline uint32_t front_attach(struct front *f, uint32_t ctx, uint32_t id, uint32_t flags,
				    const uint64_t *pages, uint32_t n, uint32_t piece)
{
	struct virtio_linnet_resource_attach *r = calloc(1, sizeof(*r) + piece * 16ull);
	struct virtio_linnet_resource_add *add = calloc(1, sizeof(*add) + piece * 16ull);
	uint32_t st = 0, part;

	front_must(r && add);
	r->head = front_head(VIRTIO_LINNET_RESOURCE_ATTACH, ctx, id);
	add->head = front_head(VIRTIO_LINNET_RESOURCE_ADD, ctx, id);
	r->bytes = htole64(n * 4096ull);
	r->flags = htole32(flags);
	for (uint32_t at = 0; !st && at < n; at += part) {
		struct virtio_linnet_entry *e = at ? add->entries : r->entries;

		part = n - at < piece ? n - at : piece;
		r->n_entries = add->n_entries = htole32(part);
		for (uint32_t i = 0; i < part; i++)
			e[i] = (struct virtio_linnet_entry){ htole64(pages[at + i]),
							     htole32(4096), 0 };
		st = at ? front_control(f, add, (uint32_t)sizeof(*add) + part * 16, NULL) :
			  front_control(f, r, (uint32_t)sizeof(*r) + part * 16, NULL);
	}
	free(r);
	free(add);
	return st;
}

/* Create a stream in pieces of at most `piece` bytes. */
static inline uint32_t front_stream(struct front *f, uint32_t ctx, uint32_t id, const void *data,
				    uint32_t bytes, uint32_t piece,
				    struct virtio_linnet_response *response)
{
	struct virtio_linnet_stream_create *r = calloc(1, sizeof(*r) + piece);
	struct virtio_linnet_head *add = calloc(1, sizeof(*add) + piece);
	uint32_t n = bytes < piece ? bytes : piece, st;

	front_must(r && add);
	r->head = front_head(VIRTIO_LINNET_STREAM_CREATE, ctx, id);
	*add = front_head(VIRTIO_LINNET_STREAM_ADD, ctx, id);
	r->bytes = htole32(bytes);
	memcpy(r->data, data, n);
	st = front_control(f, r, (uint32_t)sizeof(*r) + n, response);
	for (uint32_t at = n; !st && at < bytes; at += n) {
		n = bytes - at < piece ? bytes - at : piece;
		memcpy(add + 1, (const char *)data + at, n);
		st = front_control(f, add, (uint32_t)sizeof(*add) + n, response);
	}
	free(r);
	free(add);
	return st;
}

/* ---------------------------------------------- a device that can be killed */

static inline void front_say(void *ctx, const char *line)
{
	printf("# device: %s\n", line);
}

/* Connect f to a device in a process of its own; its number. */
static inline pid_t front_process_start(struct front *f, unsigned threads, uint64_t memory)
{
	const struct device_options opts = { .n_threads = threads, .memory = memory,
					     .level = getenv("LINNET_CPU"), .say = front_say };
	struct device *d;
	const char *why;
	int pair[2];
	pid_t pid;

	front_must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	fflush(stdout);
	pid = fork();
	front_must(pid >= 0);
	if (!pid) {
		close(pair[0]);
		front_must(!device_create(&d, &opts, &why));
		_exit(device_connection(d, pair[1]) ? 1 : 0);
	}
	close(pair[1]);
	f->sock = pair[0];
	return pid;
}

static inline void front_process_kill(struct front *f, pid_t pid)
{
	front_must(!kill(pid, SIGKILL) && waitpid(pid, NULL, 0) == pid);
	close(f->sock);
	f->sock = -1;
}

/* Ask for memory that remembers what is in flight; its descriptor, and in *m where in it. */
static inline int front_get_inflight(struct front *f, struct vhost_user_message *m)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec io = { m, VHOST_USER_HEADER + sizeof(m->inflight) };
	struct msghdr mh = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf) };
	int fd;

	*m = (struct vhost_user_message){ .request = FRONT_GET_INFLIGHT, .flags = 1,
					  .size = sizeof(m->inflight) };
	m->inflight.n_queues = VIRTIO_LINNET_QUEUES;
	m->inflight.queue_size = FRONT_RING;
	front_must(front_send(f, m, NULL, 0));
	front_must(recvmsg(f->sock, &mh, MSG_CMSG_CLOEXEC | MSG_WAITALL) == (ssize_t)io.iov_len);
	front_must(CMSG_FIRSTHDR(&mh) && CMSG_FIRSTHDR(&mh)->cmsg_type == SCM_RIGHTS);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&mh)), sizeof(fd));
	return fd;
}

/* ------------------------------------------------------ a device beside it */

struct front_device {
	struct device *d;
	pthread_t thread;
	int fd, ret;
};

static inline void *front_device_main(void *arg)
{
	struct front_device *fd = arg;

	fd->ret = device_connection(fd->d, fd->fd);
	return NULL;
}

/* Connect f to a device in a thread of this process. */
static inline void front_device_start(struct front *f, struct front_device *fd, unsigned threads,
				      uint64_t memory)
{
	const struct device_options opts = { .n_threads = threads, .memory = memory,
					     .level = getenv("LINNET_CPU"), .say = front_say };
	const char *why;
	int pair[2];

	front_must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	f->sock = pair[0];
	fd->fd = pair[1];
	front_must(!device_create(&fd->d, &opts, &why));
	front_must(!pthread_create(&fd->thread, NULL, front_device_main, fd));
}

/* Hang up; what device_connection() returned. */
static inline int front_device_end(struct front *f, struct front_device *fd)
{
	close(f->sock);
	f->sock = -1;
	pthread_join(fd->thread, NULL);
	device_destroy(fd->d);
	return fd->ret;
}

#endif
