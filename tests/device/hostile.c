// SPDX-License-Identifier: MIT
/*
 * A device survives guests and front ends that keep no rule: messages of any kind and
 * size with any descriptors, memory tables of nonsense, rings full of loops and wild
 * addresses, requests and submissions with bits flipped, memory that changes while it is
 * read, files that shrink, connections that end anywhere. A guest's process may end with
 * a failure, but by no signal and no sanitizer, and the daemon serves the next guest.
 *
 * LINNET_TEST_LONG: two minutes instead of seconds. LINNET_TEST_SEED: another run.
 */
#include "frontend.h"

#include "runtime/model/builder.h"
#include "tests/test.h"
#include "tools/device/serve.h"

#include <stdatomic.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

static uint64_t seed = 0x9e3779b97f4a7c15u;

static uint32_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16);
}

static uint32_t below(uint32_t n)
{
	return rnd() % n;
}

static uint64_t wild(void)
{
	static const uint64_t odd[] = {
		0, 1, 2, 7, 8, 12, 16, 63, 64, 255, 256, 4095, 4096, 4097, 0x7fff, 0xffff, 0x10000,
		0x7fffffff, 0x80000000, 0xffffffff, 1ull << 32, 1ull << 40, INT64_MAX, 1ull << 63,
		UINT64_MAX - 4095, UINT64_MAX, FRONT_LOW, FRONT_HIGH, FRONT_USER, FRONT_HALF,
		FRONT_LOW + FRONT_HALF, FRONT_HIGH + FRONT_HALF, FRONT_BYTES,
	};
	uint64_t v = odd[below(sizeof(odd) / sizeof(odd[0]))];

	switch (below(4)) {
	case 0:
		return v + below(17) - 8;
	case 1:
		return (uint64_t)rnd() << 32 | rnd();
	}
	return v;
}

static void sleep_us(unsigned us)
{
	const struct timespec t = { 0, us * 1000l };

	nanosleep(&t, NULL);
}

/* -------------------------------------------------------------- the daemon */

static char folder[] = "/tmp/linnet-hostile.XXXXXX", path[64];
static int said[2];
static pid_t server;
static unsigned n_guests;

static void say(bool error, const char *line)
{
	char text[600];
	int n = snprintf(text, sizeof(text), "%s\n", line);

	if (write(said[1], text, (size_t)n) < 0)
		_exit(1);
}

static void start_server(void)
{
	const struct serve_options opts = {
		.device = { .n_threads = 2, .memory = 64 << 20 }, .path = path, .fd = -1,
		.max_guests = 4, .sandbox = !getenv("LINNET_SANITIZER"), .say = say,
	};

	front_must(mkdtemp(folder) && pipe2(said, O_CLOEXEC) == 0);
	snprintf(path, sizeof(path), "%s/socket", folder);
	fcntl(said[1], F_SETPIPE_SZ, 1 << 20);
	server = fork();
	if (!server)
		_exit(device_serve(&opts) ? 1 : 0);
	front_must(server > 0);
}

/* Wait for a line that holds the text, and judge all that come. False: a guest was killed. */
static bool wait_for(const char *text)
{
	static char buf[1 << 16];
	static size_t have;
	bool good = true;

	for (;;) {
		struct pollfd p = { said[0], POLLIN, 0 };
		char *end;
		ssize_t n;

		while ((end = memchr(buf, '\n', have))) {
			bool found;

			*end = 0;
			found = strstr(buf, text);
			if (strstr(buf, "signal") || (strstr(buf, "(status, ") &&
						      !strstr(buf, "(status, 1)"))) {
				printf("# %s\n", buf);
				good = false;
			}
			have -= (size_t)(end + 1 - buf);
			memmove(buf, end + 1, have);
			if (found)
				return good;
		}
		front_must(have < sizeof(buf) && poll(&p, 1, FRONT_TIMEOUT) == 1);
		n = read(said[0], buf + have, sizeof(buf) - have);
		front_must(n > 0);
		have += (size_t)n;
	}
}

static void connect_to(struct front *f)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	strcpy(a.sun_path, path);
	f->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	front_must(f->sock >= 0);
	for (int i = 0; i < 100 && connect(f->sock, (void *)&a, sizeof(a)); i++)
		sleep_us(20000);
	n_guests++;
}

/* ---------------------------------------------------------------- attacks */

/* Something that may be sent as a descriptor. */
static int some_fd(struct front *f)
{
	int p[2], fd;

	switch (below(8)) {
	case 0:
		fd = eventfd(0, EFD_CLOEXEC);
		break;
	case 1:
		if (pipe2(p, O_CLOEXEC))
			return -1;
		fd = p[below(2)];
		close(p[0] == fd ? p[1] : p[0]);
		break;
	case 2:
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		break;
	case 3:
		fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		break;
	case 4:
		fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		break;
	case 5:
		fd = memfd_create("small", MFD_CLOEXEC);
		if (fd >= 0 && ftruncate(fd, 4096 * below(3)))
			fd = -1;
		break;
	default:
		fd = dup(f->memfd);
	}
	return fd;
}

static void send_nonsense(struct front *f)
{
	struct vhost_user_message m = { .request = below(46), .flags = below(4) ? 9 : rnd() };
	int fds[16];
	unsigned n_fds = below(3) ? below(3) : below(17), n = 0;
	char sink[4096];

	for (size_t i = 0; i < sizeof(m.raw); i += 8) {
		uint64_t v = below(3) ? below(4) : wild();

		memcpy(m.raw + i, &v, 8);
	}
	switch (below(6)) {
	case 0:
		m = front_memory_message();
		for (unsigned i = below(4); i; i--) {
			uint64_t v = wild();

			memcpy(m.raw + 8 * below(9), &v, 8);
		}
		n_fds = below(5) ? 2 : n_fds;
		break;
	case 1:
		m.size = below(4) ? 8 : (uint32_t)wild();
		m.state.index = below(3);
		break;
	case 2:
		m.size = 40;
		m.request = FRONT_ADDR;
		m.addr.flags = 0;
		break;
	default:
		m.size = below(2) ? 8 : below(sizeof(m.raw));
	}
	for (unsigned i = 0; i < n_fds; i++) {
		fds[n] = below(3) ? dup(f->memfd) : some_fd(f);
		n += fds[n] >= 0;
	}
	if (m.size <= sizeof(m.raw)) {
		front_send(f, &m, fds, n);
	} else {
		/* a head that promises more than comes */
		uint32_t size = m.size;

		m.size = below(sizeof(m.raw));
		memcpy(sink, &m, VHOST_USER_HEADER + m.size);
		memcpy(sink + 8, &size, 4);
		if (send(f->sock, sink, VHOST_USER_HEADER + m.size, MSG_NOSIGNAL) < 0)
			sleep_us(1);
	}
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	/* answers are of no interest, but must not pile up */
	while (recv(f->sock, sink, sizeof(sink), MSG_DONTWAIT) > 0)
		;
}

static void attack_messages(struct front *f)
{
	if (below(2))
		front_negotiate(f);
	for (unsigned i = 1 + below(40); i; i--)
		send_nonsense(f);
}

/* Rings whose every field is wild, or nearly right. */
static void attack_rings(struct front *f)
{
	front_start(f);
	for (unsigned round = 1 + below(20); round; round--) {
		unsigned i = below(VIRTIO_LINNET_QUEUES);
		struct front_queue *q = &f->q[i];
		uint64_t table = front_gpa(1 << 20);

		for (unsigned k = 0; k < FRONT_RING; k++) {
			struct vring_desc d = {
				below(3) ? front_gpa(below(4096) * 4096ull) : wild(),
				below(3) ? below(100) : (uint32_t)wild(),
				(uint16_t)(below(3) ? below(4) : rnd()),
				(uint16_t)(below(5) ? below(FRONT_RING) : rnd()),
			};

			if (!below(6)) {
				d.flags = VRING_DESC_F_INDIRECT;
				d.addr = table;
				d.len = 16 * below(80);
			}
			q->desc[k] = d;
			((struct vring_desc *)front_at(f, table))[k] = d;
			q->avail->ring[k] = (uint16_t)(below(20) ? below(FRONT_RING) : rnd());
		}
		q->next = (uint16_t)(q->next + (below(8) ? below(FRONT_RING + 1) : rnd()));
		__atomic_store_n(&q->avail->idx, q->next, __ATOMIC_RELEASE);
		if (below(4) == 0)
			q->used->idx = (uint16_t)rnd();
		front_kick(f, i);
		sleep_us(below(300));
		if (below(6) == 0)
			send_nonsense(f);
	}
}

static _Atomic bool scribbling;

/* Another processor of the guest, changing what the device looks at. */
static void *scribble(void *arg)
{
	struct front *f = arg;
	uint64_t state = 88172645463325252u;

	while (atomic_load(&scribbling)) {
		for (int i = 0; i < 64; i++) {
			uint32_t at;

			state ^= state << 13;
			state ^= state >> 7;
			state ^= state << 17;
			/* the part that requests and responses come from */
			at = (uint32_t)(state >> 20) % (4 << 20) & ~3u;
			if (at > 24576)
				__atomic_store_n((uint32_t *)(f->mem + at),
						 state & 0x100 ? (uint32_t)(state >> 33) :
								 (uint32_t)(state >> 33) % 8,
						 __ATOMIC_RELAXED);
		}
		sleep_us(20);
	}
	return NULL;
}

/* A stream that reads ids, pages and positions from memory. */
static void *small_stream(size_t *bytes)
{
	const uint32_t max[] = { 4 }, t = LINNET_DIM_PARAM;
	const uint32_t x[] = { 32, 4 }, table[] = { 32, 8 }, ids[] = { 4 };
	const uint32_t heads[] = { 32, 1, 4 }, pages[] = { 2, 1 };
	const uint32_t kv[] = { 32, LINNET_KV_PAGE, 1, 2 };
	struct linnet_operand o;
	struct linnet_builder b;

#define OPERAND(slot, offset, type, n, dims, dim) do {					\
	o = linnet_operand_dense(slot, offset, LINNET_TYPE_##type, n, dims);		\
	if (dim >= 0)									\
		o.ne[dim] = t;								\
	linnet_builder_operand(&b, &o);							\
} while (0)
	linnet_builder_start(&b, max, 1, 3);
	linnet_builder_op(&b, LINNET_OP_GET_ROWS);
	linnet_builder_f32(&b, 1);
	OPERAND(0, 0, F32, 2, x, 1);
	OPERAND(1, 0, Q4_0, 2, table, -1);
	OPERAND(1, 4096, I32, 1, ids, 0);
	linnet_builder_op(&b, LINNET_OP_MATMUL);
	linnet_builder_u32(&b, 1);
	OPERAND(0, 0, F32, 2, x, 1);
	OPERAND(0, 1024, F32, 2, x, 1);
	OPERAND(1, 8192, F32, 2, ((uint32_t[]){ 32, 32 }), -1);
	linnet_builder_none(&b);
	linnet_builder_op(&b, LINNET_OP_KV_WRITE);
	linnet_builder_u32(&b, LINNET_KV_K);
	OPERAND(2, 0, F16, 4, kv, -1);
	OPERAND(0, 1024, F32, 3, heads, 2);
	OPERAND(1, 4096, I32, 1, ids, 0);
	OPERAND(1, 4160, I32, 1, ids, 0);
	OPERAND(1, 4224, I32, 2, pages, -1);
	linnet_builder_op(&b, LINNET_OP_ATTENTION);
	linnet_builder_f32(&b, 0.2f);
	linnet_builder_f32(&b, 0);
	linnet_builder_u32(&b, 0);
	OPERAND(0, 2048, F32, 3, heads, 2);
	OPERAND(0, 1024, F32, 3, heads, 2);
	OPERAND(2, 0, F16, 4, kv, -1);
	OPERAND(2, 0, F16, 4, kv, -1);
	OPERAND(1, 4096, I32, 1, ids, 0);
	OPERAND(1, 4160, I32, 1, ids, 0);
	OPERAND(1, 4224, I32, 2, pages, -1);
	return linnet_builder_finish(&b, bytes);
}

static void *stream;
static size_t stream_bytes;

/* A request or submission that is right but for some bits, or wild. */
static uint32_t some_request(char *buf, unsigned queue)
{
	uint32_t n, id = below(3), ctx = 1 + below(2);

	memset(buf, 0, 8192);
	if (queue == VIRTIO_LINNET_JOBQ) {
		struct {
			struct virtio_linnet_submit h;
			struct virtio_linnet_binding b[3];
		} s = { { ctx, below(2), below(8), 0, 3, { below(5) } },
			{ { 0, 0, 0, 65536 }, { 1, 1, 0, 65536 }, { 2, 0, 16384, 49152 } } };

		memcpy(buf, &s, sizeof(s));
		n = sizeof(s);
	} else {
		static const uint32_t types[] = {
			VIRTIO_LINNET_RESET, VIRTIO_LINNET_CTX_CREATE, VIRTIO_LINNET_CTX_DESTROY,
			VIRTIO_LINNET_RESOURCE_ATTACH, VIRTIO_LINNET_RESOURCE_ADD,
			VIRTIO_LINNET_RESOURCE_DETACH, VIRTIO_LINNET_STREAM_CREATE,
			VIRTIO_LINNET_STREAM_CREATE, VIRTIO_LINNET_STREAM_ADD,
			VIRTIO_LINNET_STREAM_DESTROY, VIRTIO_LINNET_JOB_CANCEL,
		};
		const uint32_t type = types[below(sizeof(types) / sizeof(types[0]))];
		struct virtio_linnet_resource_attach *a = (void *)buf;
		struct virtio_linnet_stream_create *s = (void *)buf;

		a->head = front_head(type, ctx, id);
		n = sizeof(a->head);
		switch (type) {
		case VIRTIO_LINNET_RESET:
			a->head.ctx = below(4) ? 1 : 0;	/* mostly refused */
			a->head.id = 0;
			break;
		case VIRTIO_LINNET_CTX_DESTROY:
			a->head.id = below(4) ? 1 : 0;
			break;
		case VIRTIO_LINNET_CTX_CREATE:
			a->head.id = 0;
			n = sizeof(struct virtio_linnet_ctx_create);
			break;
		case VIRTIO_LINNET_RESOURCE_ATTACH:
			a->bytes = 65536;
			a->n_entries = 1 + below(16);
			for (uint32_t i = 0; i < a->n_entries; i++)
				a->entries[i] = (struct virtio_linnet_entry){
					front_gpa((uint64_t)below(16384) * 4096), 4096 };
			n = sizeof(*a) + a->n_entries * 16;
			break;
		case VIRTIO_LINNET_RESOURCE_ADD: {
			struct virtio_linnet_resource_add *add = (void *)buf;

			add->n_entries = below(16);
			for (uint32_t i = 0; i < add->n_entries; i++)
				add->entries[i] = (struct virtio_linnet_entry){
					front_gpa((uint64_t)below(16384) * 4096), 4096 };
			n = sizeof(*add) + add->n_entries * 16;
			break;
		}
		case VIRTIO_LINNET_STREAM_CREATE:
			s->bytes = (uint32_t)stream_bytes;
			memcpy(s->data, stream, stream_bytes);
			n = sizeof(*s) + (below(4) ? (uint32_t)stream_bytes :
						     below((uint32_t)stream_bytes));
			break;
		case VIRTIO_LINNET_STREAM_ADD:
			n += below((uint32_t)stream_bytes);
			break;
		case VIRTIO_LINNET_JOB_CANCEL:
			a->head.id = 0;
			a->bytes = below(8);
			n = 24;
			break;
		}
	}
	if (below(3) == 0)
		for (unsigned i = 1 + below(3); i; i--) {
			uint64_t v = wild();

			if (below(2) && n > 8)
				memcpy(buf + below(n - 7), &v, below(2) ? 4 : 8);
			else if (n)
				buf[below(n)] ^= (char)(1 << below(8));
		}
	return below(16) ? n : below(n + 40);
}

static void attack_requests(struct front *f)
{
	bool scribbles = below(2);
	uint64_t pages[16];
	pthread_t thread;
	char buf[8192];
	uint32_t id, len;

	f->indirect = below(2);
	f->event_idx = below(2);
	front_start(f);
	for (uint32_t ctx = 1; ctx < 3; ctx++) {
		front_must(!front_ctx(f, ctx));
		for (uint32_t r = 0; r < 2; r++) {
			for (unsigned i = 0; i < 16; i++)
				pages[i] = front_gpa((uint64_t)(1024 + below(1024)) * 4096);
			front_must(!front_attach(f, ctx, r, 0, pages, 16, 16));
		}
		front_must(!front_stream(f, ctx, 0, stream, (uint32_t)stream_bytes, 4096, NULL));
	}
	atomic_store(&scribbling, true);
	if (scribbles)
		front_must(!pthread_create(&thread, NULL, scribble, f));
	for (unsigned round = 20 + below(100); round; round--) {
		unsigned i = below(VIRTIO_LINNET_QUEUES);
		uint64_t out, in;
		uint32_t n = some_request(buf, i);

		if (f->top > 20 << 20)
			f->top = 1 << 20;
		out = front_alloc(f, n + 1, 16);
		in = front_alloc(f, 16, 16);
		memcpy(front_at(f, out), buf, n);
		front_queue(f, i, out, n, 1 + below(3), in, below(20) ? 16 : below(40));
		front_kick(f, i);
		/* in turn, unless several jobs are to be there at a time */
		if (i == VIRTIO_LINNET_CONTROLQ || below(3))
			while (f->q[i].seen != f->q[i].next &&
			       front_wait(f, i, &id, &len, scribbles ? 20 : 2000))
				;
		if (f->q[i].next - f->q[i].seen > 20)
			break;
		if (below(30) == 0)
			front_set_memory(f);
	}
	atomic_store(&scribbling, false);
	if (scribbles)
		pthread_join(thread, NULL);
}

/* The file behind the memory gets shorter while the device uses it. */
static void attack_truncate(struct front *f)
{
	front_start(f);
	front_must(!front_ctx(f, 1));
	if (ftruncate(f->memfd, below(2) ? 0 : 8192))
		return;
	front_kick(f, VIRTIO_LINNET_CONTROLQ);
	front_kick(f, VIRTIO_LINNET_JOBQ);
	sleep_us(2000);
}

/* A connection that ends in the middle of a message. */
static void attack_hang_up(struct front *f)
{
	struct vhost_user_message m = front_memory_message();
	const int fds[2] = { f->memfd, f->memfd };

	if (below(2)) {
		front_start(f);
		front_ctx(f, 1);
	}
	m.size = below(4) * 20;
	if (below(2))
		front_send(f, &m, fds, below(3));
	if (send(f->sock, &m, below(40), MSG_NOSIGNAL) < 0)
		sleep_us(1);
}

static const struct {
	const char *what;
	void (*attack)(struct front *f);
	unsigned weight;
} attacks[] = {
	{ "D-TRUST-MESSAGES: messages of all kinds", attack_messages, 4 },
	{ "D-TRUST-RINGS: rings of all kinds", attack_rings, 4 },
	{ "D-TRUST-REQUESTS, D-JOB-TRUST: requests of all kinds, in memory that changes",
	  attack_requests, 4 },
	{ "D-TRUST-MEMORY: memory that goes away", attack_truncate, 1 },
	{ "D-GONE: connections that end anywhere", attack_hang_up, 2 },
};

#define N_ATTACKS (sizeof(attacks) / sizeof(attacks[0]))

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

int main(void)
{
	const char *s = getenv("LINNET_TEST_SEED");
	double each = getenv("LINNET_TEST_LONG") ? 24 : getenv("LINNET_TEST_QUICK") ? 0.5 : 2;
	struct front f;
	int status;

	if (s)
		seed ^= strtoull(s, NULL, 0) << 1;
	stream = small_stream(&stream_bytes);
	front_must(stream);
	start_server();
	wait_for("waiting for guests");
	for (size_t i = 0; i < N_ATTACKS; i++) {
		double end = seconds() + each * attacks[i].weight / 4;
		unsigned n = 0;
		bool good = true;

		while (good && seconds() < end) {
			uint64_t before = seed;
			char text[64];

			front_init(&f);
			connect_to(&f);
			snprintf(text, sizeof(text), "guest %u: connected", n_guests);
			wait_for(text);
			attacks[i].attack(&f);
			close(f.sock);
			f.sock = -1;
			front_free(&f);
			/* its process says nothing after this */
			snprintf(text, sizeof(text), "guest %u: left", n_guests);
			good = wait_for(text);
			if (!good)
				printf("# with state %#llx\n", (unsigned long long)before);
			n++;
		}
		test_ok(good && n, "%s, %u times", attacks[i].what, n);
	}
	front_init(&f);
	connect_to(&f);
	front_start(&f);
	test_ok(!front_ctx(&f, 1), "the daemon serves the next guest");
	front_free(&f);
	kill(server, SIGTERM);
	test_ok(waitpid(server, &status, 0) == server && WIFEXITED(status) && !WEXITSTATUS(status),
		"and ends when it is told to");
	test_ok(access(path, F_OK) && !rmdir(folder), "its socket is gone");
	free(stream);
	return test_end();
}
