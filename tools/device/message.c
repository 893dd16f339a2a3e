// SPDX-License-Identifier: MIT
/*
 * Messages of the vhost-user protocol, and the control queue. A message that breaks
 * the protocol's rules is answered with failure when the front end asked for an
 * answer; otherwise it ends the connection.
 */
#include "device.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	RESET_OWNER = 4,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	SET_VRING_ERR = 14,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	GET_QUEUE_NUM = 17,
	SET_VRING_ENABLE = 18,
	SET_BACKEND_REQ_FD = 21,
	GET_CONFIG = 24,
	GET_INFLIGHT_FD = 31,
	SET_INFLIGHT_FD = 32,
	RESET_DEVICE = 34,
};

#define MESSAGE_VERSION		1u
#define MESSAGE_REPLY		(1u << 2)
#define MESSAGE_NEED_REPLY	(1u << 3)

#define F_PROTOCOL_FEATURES	(1ull << 30)
#define FEATURES		(1ull << VIRTIO_F_VERSION_1 | F_PROTOCOL_FEATURES |	\
				 1ull << VIRTIO_RING_F_INDIRECT_DESC |			\
				 1ull << VIRTIO_RING_F_EVENT_IDX)

#define P_MQ			(1ull << 0)
#define P_REPLY_ACK		(1ull << 3)
#define P_BACKEND_REQ		(1ull << 5)	/* virtio_uml of Linux 6.12 needs it */
#define P_CONFIG		(1ull << 9)
#define P_INFLIGHT		(1ull << 12)
#define P_RESET_DEVICE		(1ull << 13)
#define PROTOCOL		(P_MQ | P_REPLY_ACK | P_BACKEND_REQ | P_CONFIG |		\
				 P_INFLIGHT | P_RESET_DEVICE)

#define VRING_INDEX		0xffull
#define VRING_NO_FD		(1ull << 8)

/* What a running job may take to its end when the front end stops the queue. */
#define STOP_PATIENCE_MS 1000

static void fill_config(const struct device *d, struct virtio_linnet_config *c)
{
	*c = (struct virtio_linnet_config){
		.version = htole32(VIRTIO_LINNET_VERSION),
		.stream_version = htole32(LINNET_STREAM_VERSION),
		.max_resource_bytes = htole64(DEVICE_MAX_RESOURCE),
		.max_contexts = htole32(DEVICE_MAX_CONTEXTS),
		.max_resources = htole32(DEVICE_MAX_RESOURCES),
		.max_streams = htole32(DEVICE_MAX_STREAMS),
		.max_stream_bytes = htole32(DEVICE_MAX_STREAM_BYTES),
		.n_threads = htole16(d->opts.n_threads),
		.max_request_bytes = htole32(DEVICE_MAX_REQUEST),
	};
	strncpy((char *)c->isa, d->kernels.isa, sizeof(c->isa) - 1);
}

/* With the lock held. */
static void reset(struct device *d)
{
	device_jobs_stop(d, 0);
	device_objects_clear(d);
}

static const char *set_features(struct device *d, uint64_t features)
{
	if (features & ~FEATURES)
		return "features that were not offered";
	if (!(features & 1ull << VIRTIO_F_VERSION_1))
		return "a driver without VIRTIO_F_VERSION_1";
	d->features = features;
	for (unsigned i = 0; i < VIRTIO_LINNET_QUEUES; i++) {
		d->queue[i].event_idx = features & 1ull << VIRTIO_RING_F_EVENT_IDX;
		/* without protocol features, rings are enabled from the start */
		if (!(features & F_PROTOCOL_FEATURES))
			d->queue[i].enabled = true;
	}
	return NULL;
}

static const char *set_memory(struct device *d, const struct vhost_user_message *m, const int *fds,
			      unsigned n_fds)
{
	struct guest_region_spec spec[GUEST_MAX_REGIONS];
	const char *why;

	if (m->size < 8 || m->memory.num > GUEST_MAX_REGIONS || m->memory.num != n_fds ||
	    m->size < 8 + m->memory.num * sizeof(m->memory.region[0])) {
		for (unsigned i = 0; i < n_fds; i++)
			close(fds[i]);
		return "a memory table of the wrong size";
	}
	for (unsigned i = 0; i < n_fds; i++)
		spec[i] = (struct guest_region_spec){
			m->memory.region[i].gpa, m->memory.region[i].bytes,
			m->memory.region[i].user, m->memory.region[i].offset,
		};
	if (guest_memory_set(&d->memory, spec, fds, n_fds, &why))
		return why;
	for (unsigned i = 0; i < VIRTIO_LINNET_QUEUES; i++)
		if (d->queue[i].has_addresses)
			vq_resolve(&d->queue[i], &d->memory);
	return NULL;
}

/* Memory for what is taken and not given back; it is to outlive this process. */
static const char *get_inflight(struct device *d, struct vhost_user_message *m)
{
	const unsigned n = m->inflight.n_queues, num = m->inflight.queue_size;

	if (m->size < 20 || n != VIRTIO_LINNET_QUEUES || !num || num > VQ_MAX_SIZE)
		return "memory for other rings";
	m->inflight.bytes = n * vq_inflight_bytes(num);
	m->inflight.offset = 0;
	m->size = sizeof(m->inflight);
	d->reply_fd = memfd_create("linnet-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (d->reply_fd < 0 || ftruncate(d->reply_fd, (off_t)m->inflight.bytes) ||
	    fcntl(d->reply_fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)) {
		vq_close_fd(&d->reply_fd);
		return "no memory for what is in flight";
	}
	return NULL;
}

static const char *set_inflight(struct device *d, const struct vhost_user_message *m, int fd)
{
	const unsigned n = m->inflight.n_queues, num = m->inflight.queue_size;
	const uint64_t bytes = m->inflight.bytes, offset = m->inflight.offset;
	struct stat st;
	char *p;

	for (unsigned i = 0; i < VIRTIO_LINNET_QUEUES; i++)
		if (d->queue[i].started)
			return "other memory for a ring that runs";
	if (m->size < 20 || n != VIRTIO_LINNET_QUEUES || !num || num > VQ_MAX_SIZE ||
	    bytes < n * vq_inflight_bytes(num) || bytes > 1u << 20 || offset % 4096 ||
	    fstat(fd, &st) || offset > (uint64_t)st.st_size ||
	    bytes > (uint64_t)st.st_size - offset)
		return "memory for what is in flight, of the wrong size";
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
	if (p == MAP_FAILED)
		return "memory for what is in flight that cannot be mapped";
	if (d->inflight)
		munmap(d->inflight, d->inflight_bytes);
	d->inflight = p;
	d->inflight_bytes = bytes;
	for (unsigned i = 0; i < n; i++) {
		d->queue[i].inflight = (void *)(p + i * vq_inflight_bytes(num));
		d->queue[i].inflight_num = num;
	}
	return NULL;
}

static const char *set_addresses(struct device *d, const struct vhost_user_message *m)
{
	struct vq *q = &d->queue[m->addr.index];

	if (m->addr.flags)
		return "a ring that is to be logged";
	q->desc_user = m->addr.desc;
	q->avail_user = m->addr.avail;
	q->used_user = m->addr.used;
	q->has_addresses = true;
	if (!vq_resolve(q, &d->memory))
		return "a ring that is not memory of the guest, or not aligned";
	/* a ring that goes on: the guest has seen what is in it */
	q->used_idx = le16toh(__atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE));
	q->broken = false;
	return NULL;
}

static const char *set_base(struct device *d, unsigned i, uint32_t base)
{
	struct vq *q = &d->queue[i];

	if (q->started && q->enabled)
		return "a base for a ring that runs";
	if (base > 0xffff)
		return "a base beyond 65535";
	q->last_avail = (uint16_t)base;
	/* A driver that starts afresh knows nothing of what was made before. */
	if (i == VIRTIO_LINNET_CONTROLQ && !base)
		reset(d);
	return NULL;
}

static void stop_queue(struct device *d, unsigned i, unsigned patience_ms)
{
	if (i == VIRTIO_LINNET_JOBQ)
		device_jobs_stop(d, patience_ms);
}

/* With the lock held, and every index in range. The descriptor, if any, is q's own then. */
static const char *queue_message(struct device *d, struct vhost_user_message *m, int *fd,
				 bool *reply)
{
	const unsigned i = m->state.index & VRING_INDEX;
	struct vq *q = &d->queue[i];

	switch (m->request) {
	case SET_VRING_NUM:
		if (!m->state.num || m->state.num > VQ_MAX_SIZE ||
		    m->state.num & (m->state.num - 1))
			return "a ring's size";
		if (q->started && q->enabled)
			return "a size for a ring that runs";
		if (q->inflight && m->state.num > q->inflight_num)
			return "a ring with more requests than can be noted";
		q->num = m->state.num;
		q->desc = NULL;
		return NULL;
	case SET_VRING_ADDR:
		stop_queue(d, i, STOP_PATIENCE_MS);
		return set_addresses(d, m);
	case SET_VRING_BASE:
		return set_base(d, i, m->state.num);
	case GET_VRING_BASE:
		stop_queue(d, i, STOP_PATIENCE_MS);
		q->started = false;
		vq_close_fd(&q->kick);
		vq_close_fd(&q->call);
		q->generation++;
		m->state.num = q->last_avail;
		m->size = sizeof(m->state);
		*reply = true;
		return NULL;
	case SET_VRING_KICK:
		if (*fd < 0)
			return "a ring without a kick descriptor";
		if (!q->started && !vq_recover(q))
			return "notes of what is in flight that are another ring's";
		vq_close_fd(&q->kick);
		q->kick = *fd;
		*fd = -1;
		q->generation++;
		q->started = true;
		return NULL;
	case SET_VRING_CALL:
		vq_close_fd(&q->call);
		q->call = *fd;
		*fd = -1;
		return NULL;
	case SET_VRING_ENABLE:
		if (m->state.num > 1)
			return "a ring that is neither enabled nor disabled";
		if (!m->state.num)
			stop_queue(d, i, 0);
		q->enabled = m->state.num;
		return NULL;
	}
	return NULL;	/* SET_VRING_ERR: nothing is ever said there */
}

static const char *handle(struct device *d, struct vhost_user_message *m, int *fds,
			  unsigned *n_fds, bool *reply)
{
	struct virtio_linnet_config config;
	const char *bad;
	uint32_t offset, n;
	int fd = -1;

	switch (m->request) {
	case GET_FEATURES:
		m->u64 = FEATURES;
		break;
	case GET_PROTOCOL_FEATURES:
		m->u64 = PROTOCOL;
		break;
	case GET_QUEUE_NUM:
		m->u64 = VIRTIO_LINNET_QUEUES;
		break;
	case SET_FEATURES:
		return m->size == 8 ? set_features(d, m->u64) : "a message's size";
	case SET_PROTOCOL_FEATURES:
		if (m->size != 8 || m->u64 & ~PROTOCOL)
			return "protocol features that were not offered";
		d->protocol = m->u64;
		return NULL;
	case SET_OWNER:
		return NULL;
	case RESET_OWNER:
	case RESET_DEVICE:
		for (unsigned i = 0; i < VIRTIO_LINNET_QUEUES; i++)
			d->queue[i].started = false;
		reset(d);
		for (unsigned i = 0; i < VIRTIO_LINNET_QUEUES; i++)
			vq_forget(&d->queue[i]);
		return NULL;
	case SET_MEM_TABLE:
		n = *n_fds;
		*n_fds = 0;
		return set_memory(d, m, fds, n);
	case SET_BACKEND_REQ_FD:
		if (*n_fds != 1)
			return "no descriptor where one belongs";
		vq_close_fd(&d->backend_fd);
		d->backend_fd = fds[0];
		*n_fds = 0;
		return NULL;
	case GET_INFLIGHT_FD:
		bad = get_inflight(d, m);
		*reply = !bad;
		return bad;
	case SET_INFLIGHT_FD:
		if (*n_fds != 1)
			return "no descriptor where one belongs";
		bad = set_inflight(d, m, fds[0]);
		close(fds[0]);
		*n_fds = 0;
		return bad;
	case GET_CONFIG:
		offset = m->config.offset;
		n = m->config.size;
		if (m->size < 12 || n > sizeof(m->config.data) || m->size != 12 + n)
			return "a configuration request's size";
		fill_config(d, &config);
		memset(m->config.data, 0, n);
		if (offset < sizeof(config))
			memcpy(m->config.data, (char *)&config + offset,
			       n < sizeof(config) - offset ? n : sizeof(config) - offset);
		*reply = true;
		return NULL;
	case SET_VRING_KICK:
	case SET_VRING_CALL:
	case SET_VRING_ERR:
		if (m->size != 8 || (m->u64 & VRING_INDEX) >= VIRTIO_LINNET_QUEUES ||
		    *n_fds != !(m->u64 & VRING_NO_FD))
			return "a ring's descriptor";
		fd = *n_fds ? fds[0] : -1;
		*n_fds = 0;
		bad = queue_message(d, m, &fd, reply);
		vq_close_fd(&fd);
		return bad;
	case SET_VRING_ADDR:
		if (m->size < sizeof(m->addr) || m->addr.index >= VIRTIO_LINNET_QUEUES)
			return "a ring's addresses";
		return queue_message(d, m, &fd, reply);
	case SET_VRING_NUM:
	case SET_VRING_BASE:
	case GET_VRING_BASE:
	case SET_VRING_ENABLE:
		if (m->size != sizeof(m->state) || m->state.index >= VIRTIO_LINNET_QUEUES)
			return "a ring's number";
		return queue_message(d, m, &fd, reply);
	default:
		return "a message that is not known";
	}
	m->size = 8;
	*reply = true;
	return NULL;
}

int device_message(struct device *d, struct vhost_user_message *m, int *fds, unsigned n_fds)
{
	const uint32_t request = m->request, flags = m->flags;
	const char *bad = "a message's version";
	bool reply = false, answer;

	pthread_mutex_lock(&d->lock);
	vq_close_fd(&d->reply_fd);
	if ((flags & 3) == MESSAGE_VERSION && !(flags & MESSAGE_REPLY))
		bad = handle(d, m, fds, &n_fds, &reply);
	/* virtio_uml asks already when it says that it will */
	answer = flags & MESSAGE_NEED_REPLY && d->protocol & P_REPLY_ACK;
	pthread_mutex_unlock(&d->lock);
	device_jobs_wake(d);
	for (unsigned i = 0; i < n_fds; i++)
		close(fds[i]);
	if (bad)
		device_say(d, "refused: %s (message, %u)", bad, request);
	else if (d->opts.verbose)
		device_say(d, "message %u", request);
	if (bad && !answer)
		return -EPROTO;
	if (!reply && answer) {
		m->u64 = bad != NULL;
		m->size = 8;
		reply = true;
	}
	m->flags = MESSAGE_VERSION | MESSAGE_REPLY;
	return reply;
}

void device_control(struct device *d)
{
	struct vq *q = &d->queue[VIRTIO_LINNET_CONTROLQ];
	struct vq_chain c = { .out = d->request, .out_room = sizeof(d->request) };
	struct virtio_linnet_response r;
	uint16_t old = q->used_idx;
	int ret;

	do {
		while ((ret = vq_pop(q, &d->memory, &c)) == 1) {
			if (c.bad) {
				device_say(d, "a request is malformed: %s", c.bad);
				vq_push(q, &d->memory, &c, &r, 0);
				continue;
			}
			if (c.out_bytes > sizeof(d->request))
				r = (struct virtio_linnet_response){
					.status = htole32(VIRTIO_LINNET_S_INVALID) };
			else
				r = device_request(d, d->request, c.out_bytes);
			if (r.status && d->opts.verbose)
				device_say(d, "a request failed with status %u", le32toh(r.status));
			vq_push(q, &d->memory, &c, &r, sizeof(r));
			vq_notify(q, old);
			old = q->used_idx;
		}
	} while (!ret && vq_want_kick(q));
	vq_notify(q, old);
	if (ret)
		device_say(d, "the control queue is broken: no more requests are taken");
}
