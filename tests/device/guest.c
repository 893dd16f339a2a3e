// SPDX-License-Identifier: MIT
/*
 * A device serves a guest that keeps the rules: streams give the bits that the host
 * gives, in memory that is scattered over the guest, for every form of the rings; jobs
 * are cancelled and stopped; objects live and end as Documentation/device-spec.rst says;
 * and each value that breaks a rule is answered with its status. A name in front of a
 * test is a statement of that specification.
 */
#include "frontend.h"

#include "runtime/model/builder.h"
#include "tests/test.h"

#include <time.h>

#define T (LINNET_DIM_PARAM | 0)
#define MAX_T 6
#define D 64
#define FF 96
#define V 32
#define HEADS 2

/* Slots of the stream, each a resource of its own. */
enum { X, WEIGHTS, IDS, KV, TABLES, N_SLOTS };

static const struct { uint64_t bytes; bool written; } slots[N_SLOTS] = {
	[X] = { 64 << 10, true }, [WEIGHTS] = { 64 << 10, false }, [IDS] = { 4096, false },
	[KV] = { 256 << 10, true }, [TABLES] = { 4096, false },
};

static uint64_t seed = 88172645463325252u;

static uint32_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16);
}

/* -------------------------------------------------------------- a stream */

static uint64_t placed[N_SLOTS];	/* bytes of each slot that operands take so far */

static struct linnet_operand place(uint32_t slot, uint32_t type, uint32_t n, uint32_t a, uint32_t b,
				   uint32_t c, uint32_t d)
{
	const uint32_t ne[] = { a, b, c, d };
	uint32_t max[4];
	struct linnet_operand o, full;
	uint64_t bytes;

	for (unsigned i = 0; i < 4; i++)
		max[i] = ne[i] == T ? MAX_T : ne[i];
	/* strides of the largest number of tokens */
	full = linnet_operand_dense(slot, placed[slot], type, n, max);
	o = full;
	for (unsigned i = 0; i < n; i++)
		o.ne[i] = ne[i];
	bytes = linnet_row_bytes(linnet_type_info(type), max[0]);
	for (unsigned i = 1; i < n; i++)
		bytes *= max[i];
	placed[slot] += (bytes + 63) / 64 * 64;
	front_must(placed[slot] <= slots[slot].bytes);
	return o;
}

#define F32 LINNET_TYPE_F32
#define I32 LINNET_TYPE_I32

static void op(struct linnet_builder *b, enum linnet_opcode code, unsigned n,
	       const struct linnet_operand *const *o)
{
	for (unsigned i = 0; i < n; i++)
		if (o[i])
			linnet_builder_operand(b, o[i]);
		else
			linnet_builder_none(b);
}

#define OP(b, code, ...) do {								\
	const struct linnet_operand *const o_[] = { __VA_ARGS__ };			\
	op(b, code, sizeof(o_) / sizeof(o_[0]), o_);					\
} while (0)

/* A layer in small: embedding, norm, products, rotation, cache, attention, a gate. */
static void *layer(size_t *bytes)
{
	const uint32_t max[] = { MAX_T };
	struct linnet_builder b;
	struct linnet_operand ids = place(IDS, I32, 1, T, 1, 1, 1);
	struct linnet_operand pos = place(TABLES, I32, 1, T, 1, 1, 1);
	struct linnet_operand seq = place(TABLES, I32, 1, T, 1, 1, 1);
	struct linnet_operand pages = place(TABLES, I32, 2, 2, 1, 1, 1);
	struct linnet_operand table = place(WEIGHTS, LINNET_TYPE_Q8_0, 2, D, V, 1, 1);
	struct linnet_operand norm = place(WEIGHTS, F32, 1, D, 1, 1, 1);
	struct linnet_operand wq = place(WEIGHTS, LINNET_TYPE_Q4_0, 2, D, D, 1, 1);
	struct linnet_operand up = place(WEIGHTS, LINNET_TYPE_Q8_0, 2, D, FF, 1, 1);
	struct linnet_operand gate = place(WEIGHTS, LINNET_TYPE_F16, 2, D, FF, 1, 1);
	struct linnet_operand down = place(WEIGHTS, LINNET_TYPE_Q4_0, 2, FF, D, 1, 1);
	struct linnet_operand x = place(X, F32, 2, D, T, 1, 1), y = place(X, F32, 2, D, T, 1, 1);
	struct linnet_operand q = place(X, F32, 2, D, T, 1, 1), a = place(X, F32, 2, D, T, 1, 1);
	struct linnet_operand u = place(X, F32, 2, FF, T, 1, 1), g = place(X, F32, 2, FF, T, 1, 1);
	struct linnet_operand rope = place(X, F32, 2, D / HEADS, T, 1, 1);
	struct linnet_operand k = place(KV, LINNET_TYPE_F16, 4, D / HEADS, LINNET_KV_PAGE, HEADS,
					2);
	struct linnet_operand v = place(KV, LINNET_TYPE_F16, 4, D / HEADS, LINNET_KV_PAGE, HEADS,
					2);
	struct linnet_operand qh = q, ah = a;

	/* the same numbers as heads */
	qh.n_dims = ah.n_dims = 3;
	qh.ne[0] = ah.ne[0] = D / HEADS;
	qh.ne[1] = ah.ne[1] = HEADS;
	qh.ne[2] = ah.ne[2] = T;
	qh.nb[0] = ah.nb[0] = D / HEADS * 4;
	qh.nb[1] = ah.nb[1] = D * 4;

	linnet_builder_start(&b, max, 1, N_SLOTS);
	linnet_builder_op(&b, LINNET_OP_GET_ROWS);
	linnet_builder_f32(&b, 1.5f);
	OP(&b, 0, &x, &table, &ids);
	linnet_builder_op(&b, LINNET_OP_RMS_NORM);
	linnet_builder_f32(&b, 1e-5f);
	OP(&b, 0, &y, &x, &norm);
	linnet_builder_op(&b, LINNET_OP_MATMUL);
	linnet_builder_u32(&b, 1);
	OP(&b, 0, &y, &q, &wq, NULL);
	linnet_builder_op(&b, LINNET_OP_ROPE_TABLE);
	linnet_builder_f32(&b, 10000);
	linnet_builder_f32(&b, 1);
	linnet_builder_f32(&b, 0);
	linnet_builder_f32(&b, 0);
	linnet_builder_f32(&b, 1);
	linnet_builder_f32(&b, 1);
	OP(&b, 0, &rope, &pos, NULL);
	linnet_builder_op(&b, LINNET_OP_ROPE);
	linnet_builder_u32(&b, LINNET_ROPE_NEOX);
	OP(&b, 0, &qh, &qh, &rope);
	linnet_builder_op(&b, LINNET_OP_KV_WRITE);
	linnet_builder_u32(&b, LINNET_KV_K);
	OP(&b, 0, &k, &qh, &pos, &seq, &pages);
	linnet_builder_op(&b, LINNET_OP_KV_WRITE);
	linnet_builder_u32(&b, LINNET_KV_V);
	OP(&b, 0, &v, &qh, &pos, &seq, &pages);
	linnet_builder_op(&b, LINNET_OP_ATTENTION);
	linnet_builder_f32(&b, 0.25f);
	linnet_builder_f32(&b, 0);
	linnet_builder_u32(&b, 0);
	OP(&b, 0, &ah, &qh, &k, &v, &pos, &seq, &pages);
	linnet_builder_op(&b, LINNET_OP_MATMUL);
	linnet_builder_u32(&b, 2);
	OP(&b, 0, &a, &u, &up, NULL, &g, &gate, NULL);
	linnet_builder_op(&b, LINNET_OP_GLU);
	linnet_builder_u32(&b, LINNET_GLU_SILU);
	OP(&b, 0, &u, &g, &u);
	linnet_builder_op(&b, LINNET_OP_MATMUL);
	linnet_builder_u32(&b, 1);
	OP(&b, 0, &u, &y, &down, NULL);
	linnet_builder_op(&b, LINNET_OP_ADD);
	OP(&b, 0, &x, &x, &y);
	return linnet_builder_finish(&b, bytes);
}

/* n products of a matrix of 512 x 512 with 512 tokens: seconds of work. */
static void *long_work(size_t *bytes, unsigned n)
{
	const uint32_t max[] = { 512 }, w[] = { 512, 512 }, t[] = { 512, 512 };
	struct linnet_operand weight = linnet_operand_dense(0, 0, F32, 2, w);
	struct linnet_operand src = linnet_operand_dense(1, 0, F32, 2, t);
	struct linnet_operand dst = linnet_operand_dense(1, 1 << 20, F32, 2, t);
	struct linnet_builder b;

	src.ne[1] = dst.ne[1] = T;
	linnet_builder_start(&b, max, 1, 2);
	for (unsigned i = 0; i < n; i++) {
		linnet_builder_op(&b, LINNET_OP_MATMUL);
		linnet_builder_u32(&b, 1);
		OP(&b, 0, &src, &dst, &weight, NULL);
	}
	return linnet_builder_finish(&b, bytes);
}

/* Numbers that are small and finite in every type. */
static void fill_slot(char *p, unsigned slot)
{
	for (uint64_t i = 0; i < slots[slot].bytes; i += 2) {
		/* f16 and f32 halves below 2, and never infinite */
		uint16_t v = (uint16_t)(rnd() & 0xbbff);

		memcpy(p + i, &v, 2);
	}
	if (slot == IDS)
		for (unsigned t = 0; t < MAX_T; t++)
			((int32_t *)p)[t] = (int32_t)(rnd() % V);
	if (slot == TABLES) {
		memset(p, 0, slots[slot].bytes);
		for (unsigned t = 0; t < MAX_T; t++)
			((int32_t *)p)[t] = (int32_t)(250 + 2 * t);	/* into the second page */
		((int32_t *)p)[32] = 1;
		((int32_t *)p)[33] = 0;
	}
}

/* The stream on the host, on one thread. */
static int on_host(const void *data, size_t bytes, char **base, uint32_t t)
{
	struct linnet_exec x = { .params = { t } };
	struct linnet_kernels kernels;
	struct linnet_team team;
	struct linnet_stream *s;
	uint32_t failed;
	int ret;

	front_must(!linnet_kernels_init(&kernels, getenv("LINNET_CPU")));
	front_must(!linnet_stream_parse(&s, data, bytes, NULL));
	linnet_team_init(&team, 1);
	x.k = &kernels;
	x.s = s;
	x.team = &team;
	x.scratch_bytes = linnet_exec_scratch(s, &kernels, 1);
	front_must(!posix_memalign((void **)&x.scratch, 64, x.scratch_bytes + 64));
	for (unsigned i = 0; i < N_SLOTS; i++)
		x.base[i] = base[i];
	front_must(!linnet_exec_begin(&x));
	linnet_exec_run(&x, 0);
	ret = linnet_exec_result(&x, &failed);
	free(x.scratch);
	linnet_stream_free(s);
	return ret;
}

/* ---------------------------------------------------------------- guests */

struct submission {
	struct virtio_linnet_submit head;
	struct virtio_linnet_binding b[VIRTIO_LINNET_MAX_BINDINGS + 1];
};

#define SUBMIT_BYTES(n) ((uint32_t)(sizeof(struct virtio_linnet_submit) + (n) *		\
				    sizeof(struct virtio_linnet_binding)))

static struct submission submission(uint32_t ctx, uint32_t stream, uint32_t t, uint64_t job)
{
	struct submission s = { .head = { htole32(ctx), htole32(stream), htole64(job), 0,
					  htole32(N_SLOTS), { htole32(t) } } };

	for (uint32_t i = 0; i < N_SLOTS; i++)
		s.b[i] = (struct virtio_linnet_binding){ htole32(i), htole32(i + 1), 0,
							 htole64(slots[i].bytes) };
	return s;
}

static struct virtio_linnet_done submit(struct front *f, const struct submission *s, unsigned n)
{
	struct virtio_linnet_done done;

	front_exchange(f, VIRTIO_LINNET_JOBQ, s, SUBMIT_BYTES(n), 2, &done);
	return done;
}

/* Pages of the guest for each slot, some from each half, in no order. */
static uint64_t page[N_SLOTS][64];

static void scatter(void)
{
	uint16_t order[2048];
	unsigned n = 0;

	for (unsigned i = 0; i < 2048; i++)
		order[i] = (uint16_t)i;
	for (unsigned i = 2047; i; i--) {
		unsigned j = rnd() % (i + 1);
		uint16_t o = order[i];

		order[i] = order[j];
		order[j] = o;
	}
	for (unsigned s = 0; s < N_SLOTS; s++)
		for (unsigned i = 0; i < slots[s].bytes / 4096; i++, n++)
			page[s][i] = front_gpa(FRONT_HALF - 1024 * 4096 + order[n] * 4096ull);
}

static void to_guest(struct front *f, unsigned slot, const char *p)
{
	for (unsigned i = 0; i < slots[slot].bytes / 4096; i++)
		memcpy(front_at(f, page[slot][i]), p + i * 4096, 4096);
}

static bool same_as_guest(struct front *f, unsigned slot, const char *p)
{
	for (unsigned i = 0; i < slots[slot].bytes / 4096; i++)
		if (memcmp(front_at(f, page[slot][i]), p + i * 4096, 4096))
			return false;
	return true;
}

static uint32_t attach_all(struct front *f, uint32_t ctx)
{
	uint32_t st = 0;

	for (unsigned i = 0; i < N_SLOTS && !st; i++)
		st = front_attach(f, ctx, i + 1,
				  slots[i].written ? 0 : VIRTIO_LINNET_ATTACH_READ_ONLY, page[i],
				  (uint32_t)(slots[i].bytes / 4096), 20);
	return st;
}

static void *stream;
static size_t stream_bytes;
static char *want[N_SLOTS];

static void test_bits(bool indirect, bool event_idx, unsigned threads)
{
	struct front f;
	struct front_device d;
	bool ok = true;
	char what[64];

	snprintf(what, sizeof(what), "%s%s, %u threads", indirect ? "indirect" : "direct",
		 event_idx ? ", event index" : "", threads);
	front_init(&f);
	f.indirect = indirect;
	f.event_idx = event_idx;
	front_device_start(&f, &d, threads, 1 << 30);
	front_start(&f);
	scatter();
	for (unsigned i = 0; i < N_SLOTS; i++) {
		fill_slot(want[i], i);
		to_guest(&f, i, want[i]);
	}
	ok &= !front_ctx(&f, 3);
	ok &= !attach_all(&f, 3);
	ok &= !front_stream(&f, 3, 5, stream, (uint32_t)stream_bytes, 1000, NULL);
	test_ok(ok, "D-VQ-FRAMING: %s: context, resources in pieces, stream in pieces", what);
	for (uint32_t t = 1; t <= MAX_T; t += 5) {
		struct submission s = submission(3, 5, t, t);
		struct virtio_linnet_done done = submit(&f, &s, N_SLOTS);

		ok = !done.status && !done.op;
		front_must(!on_host(stream, stream_bytes, want, t));
		for (unsigned i = 0; i < N_SLOTS; i++)
			ok &= same_as_guest(&f, i, want[i]);
		test_ok(ok, "D-JOB-RESULT, D-MEM-IN-PLACE: %s: %u tokens: the bits of the host",
			what, t);
	}
	test_ok(!front_device_end(&f, &d), "%s: a guest that goes leaves no failure", what);
	front_free(&f);
}

/* ------------------------------------------------------------ huge pages */

#define HUGE GUEST_HUGE_PAGE
#define HUGE_LEAD 3		/* pages that lie elsewhere, before the others */
#define HUGE_PAGES 2048

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* Can this kernel put a file's pages in a huge one? */
static bool can_collapse(void)
{
	const int fd = memfd_create("probe", MFD_CLOEXEC);
	char *p = mmap(NULL, 2 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *at;
	bool can;

	front_must(fd >= 0 && p != MAP_FAILED && !ftruncate(fd, HUGE));
	at = p + (-(uintptr_t)p & (HUGE - 1));
	front_must(mmap(at, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == at);
	memset(at, 1, HUGE);
	can = !madvise(at, HUGE, MADV_COLLAPSE);
	munmap(p, 2 * HUGE);
	close(fd);
	return can;
}

/* Bytes of this process, from `from` to `to`, that are mapped by huge pages. */
static uint64_t huge_bytes(const char *from, const char *to)
{
	unsigned long long a, b, kib, sum = 0;
	bool inside = false;
	char line[512];
	FILE *f = fopen("/proc/self/smaps", "re");

	front_must(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx-%llx ", &a, &b) == 2)
			inside = a >= (uintptr_t)from && b <= (uintptr_t)to;
		else if (inside && sscanf(line, "ShmemPmdMapped: %llu", &kib) == 1)
			sum += kib << 10;
	}
	fclose(f);
	return sum;
}

/* What lies side by side in the guest is in huge pages here, wherever it begins. */
static void test_huge(void)
{
	/* neither the run of pages nor the resource begins on a border */
	const uint64_t run = 4 * HUGE + 5 * 4096;
	static uint64_t pages[HUGE_LEAD + HUGE_PAGES];
	struct device_resource *r;
	struct front_device d;
	struct front f;
	bool same = true;

	front_init(&f);
	front_device_start(&f, &d, 1, 1 << 30);
	front_start(&f);
	for (unsigned i = 0; i < HUGE_LEAD + HUGE_PAGES; i++) {
		pages[i] = front_gpa(i < HUGE_LEAD ? 2 * HUGE + i * 8192 :
						     run + (i - HUGE_LEAD) * 4096ull);
		memset(front_at(&f, pages[i]), (int)(i % 251 + 1), 4096);
	}
	front_must(!front_ctx(&f, 1));
	test_ok(!front_attach(&f, 1, 1, 0, pages, HUGE_LEAD + HUGE_PAGES, 4000),
		"a resource of %d pages side by side, and some others", HUGE_PAGES);
	r = d.d->ctx[1]->resource[1];
	for (unsigned i = 0; i < HUGE_LEAD + HUGE_PAGES; i++)
		same &= !memcmp(r->at + i * 4096ull, front_at(&f, pages[i]), 4096);
	test_ok(same, "D-MEM-IN-PLACE: it shows the guest's pages in their order");
	if (can_collapse())
		test_ok(huge_bytes(r->at, r->at + r->bytes) == 3 * HUGE &&
			r->huge_bytes == 3 * HUGE, "it is mapped by 3 huge pages (%llu KiB)",
			(unsigned long long)huge_bytes(r->at, r->at + r->bytes) >> 10);
	else
		test_skip("it is mapped by huge pages",
			  "the kernel makes none of shared memory (MADV_COLLAPSE)");
	memset(front_at(&f, pages[HUGE_LEAD + 1000]), 99, 4096);
	test_ok(r->at[(HUGE_LEAD + 1000) * 4096] == 99, "what the guest writes now is seen");
	test_ok(!front_simple(&f, VIRTIO_LINNET_RESOURCE_DETACH, 1, 1), "it can be detached");
	front_must(!front_device_end(&f, &d));
	front_free(&f);
}

/* ------------------------------------------------------------- statuses */

static struct front g;			/* of all tests below */
static struct front_device gd;

static void expect(uint32_t got, uint32_t wanted, const char *what)
{
	test_ok(got == wanted, "%s (status %u)", what, got);
}

#define HEAD(type, ctx, id) front_head(VIRTIO_LINNET_##type, ctx, id)

static void test_requests(void)
{
	struct virtio_linnet_ctx_create c = { HEAD(CTX_CREATE, 9, 0), 0, 0 };
	struct {
		struct virtio_linnet_resource_attach r;
		struct virtio_linnet_entry e[3];
	} a, a0 = { { HEAD(RESOURCE_ATTACH, 1, 7), htole64(8192), 0, htole32(2) },
		    { { htole64(page[X][0]), htole32(4096), 0 },
		      { htole64(page[X][1]), htole32(4096), 0 } } };
	struct { struct virtio_linnet_resource_add r; struct virtio_linnet_entry e; } add = {
		{ HEAD(RESOURCE_ADD, 1, 7), htole32(1), 0 },
		{ htole64(page[X][1]), htole32(4096), 0 } };
	struct { struct virtio_linnet_stream_create r; char data[64]; } s, s0 = {
		{ HEAD(STREAM_CREATE, 1, 7), htole32(64), 0 }, { 0 } };
	struct virtio_linnet_job_cancel cancel = { HEAD(JOB_CANCEL, 1, 0), htole64(99) };
	struct virtio_linnet_head h;
	struct virtio_linnet_response r;
	char many[300] = { 0 };

#define A_LEN ((uint32_t)(sizeof(a.r) + 32))
#define CONTROL(x, len) front_control(&g, &(x), len, NULL)
#define BAD_ATTACH(field, value, st, name) do {						\
	a = a0;										\
	a.field = value;								\
	expect(CONTROL(a, A_LEN), VIRTIO_LINNET_S_##st, name);				\
} while (0)

	/* heads */
	h = HEAD(CTX_DESTROY, 1, 0);
	expect(CONTROL(h, 15), VIRTIO_LINNET_S_INVALID, "D-REQ-LENGTH: a short head");
	expect(CONTROL(h, 0), VIRTIO_LINNET_S_INVALID, "D-REQ-LENGTH: nothing");
	h.reserved = 1;
	expect(CONTROL(h, sizeof(h)), VIRTIO_LINNET_S_INVALID, "D-REQ-RESERVED: a head's");
	h = HEAD(CTX_DESTROY, 77, 0);
	expect(CONTROL(h, sizeof(h)), VIRTIO_LINNET_S_NOENT, "D-REQ-NOENT: a context");
	h = HEAD(CTX_DESTROY, UINT32_MAX, 0);
	expect(CONTROL(h, sizeof(h)), VIRTIO_LINNET_S_NOENT, "D-REQ-NOENT: context 2^32 - 1");
	h = front_head(0x999, 1, 0);
	expect(CONTROL(h, sizeof(h)), VIRTIO_LINNET_S_UNSUPPORTED, "D-REQ-UNKNOWN: a type");
	h = HEAD(CTX_DESTROY, 1, 3);
	expect(CONTROL(h, sizeof(h)), VIRTIO_LINNET_S_INVALID, "D-REQ-RESERVED: an id for none");
	memcpy(many, &h, sizeof(h));
	((struct virtio_linnet_head *)many)->id = 0;
	expect(CONTROL(many, 300), VIRTIO_LINNET_S_INVALID, "D-REQ-LENGTH: bytes after a head");

	/* contexts */
	expect(CONTROL(c, sizeof(c)), 0, "a context");
	expect(CONTROL(c, sizeof(c)), VIRTIO_LINNET_S_EXIST, "D-CTX-EXIST: the same again");
	c.head.ctx = htole32(10);
	expect(CONTROL(c, sizeof(c) - 1), VIRTIO_LINNET_S_INVALID, "D-REQ-LENGTH: a short one");
	c.flags = htole32(1);
	expect(CONTROL(c, sizeof(c)), VIRTIO_LINNET_S_INVALID, "D-REQ-FLAGS: of a context");
	c.flags = 0;
	c.reserved = htole32(1);
	expect(CONTROL(c, sizeof(c)), VIRTIO_LINNET_S_INVALID, "D-REQ-RESERVED: of a context");
	expect(front_ctx(&g, DEVICE_MAX_CONTEXTS), VIRTIO_LINNET_S_NOENT,
	       "D-CTX-NUMBER: max_contexts");
	expect(front_simple(&g, VIRTIO_LINNET_CTX_DESTROY, 9, 0), 0, "a context ends");
	expect(front_simple(&g, VIRTIO_LINNET_CTX_DESTROY, 9, 0), VIRTIO_LINNET_S_NOENT,
	       "D-CTX-GONE: and is gone");

	/* resources */
	BAD_ATTACH(r.head.ctx, htole32(8), NOENT, "D-REQ-NOENT: attach to no context");
	BAD_ATTACH(r.head.id, htole32(DEVICE_MAX_RESOURCES), NOENT, "D-RES-NUMBER: max_resources");
	BAD_ATTACH(r.head.id, htole32(X + 1), EXIST, "D-RES-EXIST: a number that is taken");
	BAD_ATTACH(r.bytes, 0, INVALID, "D-RES-SIZE: zero");
	BAD_ATTACH(r.bytes, htole64(8191), INVALID, "D-RES-SIZE: not whole pages");
	BAD_ATTACH(r.bytes, htole64(4096), INVALID, "D-RES-ENTRIES: more than the resource");
	BAD_ATTACH(r.bytes, htole64(1ull << 63), NOMEM, "D-RES-SIZE: above max_resource_bytes");
	BAD_ATTACH(r.bytes, htole64(1ull << 38), ADDRESS, "D-RES-ADDRESS: more than the guest has");
	BAD_ATTACH(r.flags, htole32(2), INVALID, "D-REQ-FLAGS: of a resource");
	BAD_ATTACH(r.n_entries, htole32(1), INVALID, "D-REQ-LENGTH: more entries than said");
	BAD_ATTACH(r.n_entries, htole32(3), INVALID, "D-REQ-LENGTH: fewer entries than said");
	BAD_ATTACH(r.n_entries, htole32(0x10000002), INVALID, "D-REQ-LENGTH: 2^28 entries");
	BAD_ATTACH(e[1].addr, htole64(page[X][1] + 1), INVALID, "D-RES-ENTRIES: address");
	BAD_ATTACH(e[1].length, htole32(4095), INVALID, "D-RES-ENTRIES: length");
	BAD_ATTACH(e[1].length, 0, INVALID, "D-RES-ENTRIES: length zero");
	BAD_ATTACH(e[1].length, htole32(0xfffff000), INVALID, "D-RES-ENTRIES: length 2^32");
	BAD_ATTACH(e[1].reserved, htole32(1), INVALID, "D-REQ-RESERVED: of an entry");
	BAD_ATTACH(e[1].addr, htole64(FRONT_LOW - 4096), ADDRESS, "D-RES-ADDRESS: before memory");
	BAD_ATTACH(e[1].addr, htole64(FRONT_LOW + FRONT_HALF), ADDRESS, "D-RES-ADDRESS: a hole");
	BAD_ATTACH(e[1].addr, htole64(FRONT_HIGH + FRONT_HALF), ADDRESS, "D-RES-ADDRESS: the end");
	BAD_ATTACH(e[1].addr, htole64(-4096ull), ADDRESS, "D-RES-ADDRESS: 2^64");
	a = a0;
	a.e[0].addr = htole64(FRONT_LOW + FRONT_HALF - 4096);
	a.e[0].length = htole32(8192);
	a.r.n_entries = htole32(1);
	expect(CONTROL(a, A_LEN - 16), VIRTIO_LINNET_S_ADDRESS, "D-RES-ADDRESS: into a hole");
	a = a0;
	a.r.n_entries = htole32(1);
	expect(CONTROL(a, A_LEN - 16), 0, "a resource in pieces");
	add.r.reserved = 1;
	expect(CONTROL(add, sizeof(add)), VIRTIO_LINNET_S_INVALID,
	       "D-REQ-RESERVED: of an addition");
	add.r.reserved = 0;
	add.e.addr = htole64(FRONT_LOW - 4096);
	expect(CONTROL(add, sizeof(add)), VIRTIO_LINNET_S_ADDRESS, "D-RES-ADDRESS: of an addition");
	add.e.addr = htole64(page[X][1]);
	expect(CONTROL(add, sizeof(add)), 0, "D-REQ-ATOMIC: which changed nothing");
	expect(CONTROL(add, sizeof(add)), VIRTIO_LINNET_S_INVALID, "D-RES-ENTRIES: one too many");
	add.r.head.id = htole32(8);
	expect(CONTROL(add, sizeof(add)), VIRTIO_LINNET_S_NOENT,
	       "D-REQ-NOENT: an addition to none");
	expect(front_simple(&g, VIRTIO_LINNET_RESOURCE_DETACH, 1, 7), 0, "a resource ends");
	expect(front_simple(&g, VIRTIO_LINNET_RESOURCE_DETACH, 1, 7), VIRTIO_LINNET_S_NOENT,
	       "D-RES-GONE: and is gone");

	/* streams */
#define BAD_STREAM(field, value, st, name) do {						\
	s = s0;										\
	s.field = value;								\
	expect(CONTROL(s, sizeof(s)), VIRTIO_LINNET_S_##st, name);			\
} while (0)
	BAD_STREAM(r.bytes, 0, INVALID, "D-STR-SIZE: zero");
	BAD_STREAM(r.bytes, htole32(63), INVALID, "D-STR-SIZE: more bytes than said");
	BAD_STREAM(r.bytes, htole32(DEVICE_MAX_STREAM_BYTES + 1), NOMEM,
		   "D-STR-SIZE: above max_stream_bytes");
	BAD_STREAM(r.reserved, 1, INVALID, "D-REQ-RESERVED: of a stream");
	BAD_STREAM(r.head.id, htole32(DEVICE_MAX_STREAMS), NOENT, "D-STR-NUMBER: max_streams");
	BAD_STREAM(r.head.id, htole32(5), EXIST, "D-STR-EXIST: a number that is taken");
	expect(front_stream(&g, 1, 7, s0.data, 64, 64, &r), VIRTIO_LINNET_S_STREAM,
	       "D-STR-VALID: zeros");
	test_ok(le32toh(r.op) == UINT32_MAX && le32toh(r.operand) == UINT32_MAX,
		"D-STR-PLACE: the header is at fault");
	((uint32_t *)stream)[1]++;
	expect(front_stream(&g, 1, 7, stream, (uint32_t)stream_bytes, 512, &r),
	       VIRTIO_LINNET_S_UNSUPPORTED, "D-STR-VERSION: the next version");
	((uint32_t *)stream)[1]--;
	/* the type of the second operand of the first operation */
	((uint16_t *)stream)[(24 + 8 + 40 + 56 + 2) / 2] ^= 0x55;
	expect(front_stream(&g, 1, 7, stream, (uint32_t)stream_bytes, 512, &r),
	       VIRTIO_LINNET_S_STREAM, "D-STR-VALID: an operand");
	test_ok(!r.op && le32toh(r.operand) == 1, "D-STR-PLACE: operation 0, operand 1");
	((uint16_t *)stream)[(24 + 8 + 40 + 56 + 2) / 2] ^= 0x55;
	expect(front_stream(&g, 1, 7, stream, (uint32_t)stream_bytes, 512, &r), 0,
	       "D-STR-REFUSED: the number is free again");
	h = HEAD(STREAM_ADD, 1, 7);
	memcpy(many, &h, sizeof(h));
	expect(CONTROL(many, 32), VIRTIO_LINNET_S_INVALID, "D-STR-COMPLETE: no byte can be added");
	expect(front_simple(&g, VIRTIO_LINNET_STREAM_DESTROY, 1, 7), 0, "a stream ends");
	expect(front_simple(&g, VIRTIO_LINNET_STREAM_DESTROY, 1, 7), VIRTIO_LINNET_S_NOENT,
	       "D-STR-GONE: and is gone");

	expect(CONTROL(cancel, sizeof(cancel)), VIRTIO_LINNET_S_NOENT,
	       "D-CANCEL-NOENT: no such job");
	expect(CONTROL(cancel, sizeof(cancel) - 1), VIRTIO_LINNET_S_INVALID,
	       "D-REQ-LENGTH: cancel");
}

static void test_submissions(void)
{
	const struct submission good = submission(1, 5, 2, 1);
	struct submission s;
	struct virtio_linnet_done done;
	int32_t *ids = front_at(&g, page[IDS][0]);

#define BAD_SUBMIT(field, value, st, name) do {						\
	s = good;									\
	s.field = value;								\
	expect(le32toh(submit(&g, &s, N_SLOTS).status), VIRTIO_LINNET_S_##st, name);	\
} while (0)
	expect(le32toh(submit(&g, &good, N_SLOTS).status), 0, "a submission");
	BAD_SUBMIT(head.ctx, htole32(7), NOENT, "D-JOB-NOENT: a context");
	BAD_SUBMIT(head.ctx, htole32(UINT32_MAX), NOENT, "D-JOB-NOENT: context 2^32 - 1");
	BAD_SUBMIT(head.stream, htole32(6), NOENT, "D-JOB-NOENT: a stream");
	BAD_SUBMIT(head.stream, htole32(UINT32_MAX), NOENT, "D-JOB-NOENT: stream 2^32 - 1");
	BAD_SUBMIT(b[2].resource, htole32(30), NOENT, "D-JOB-NOENT: a resource");
	BAD_SUBMIT(b[2].resource, htole32(UINT32_MAX), NOENT, "D-JOB-NOENT: resource 2^32 - 1");
	BAD_SUBMIT(head.flags, htole32(1), INVALID, "D-JOB-FLAGS");
	BAD_SUBMIT(head.n_bindings, htole32(N_SLOTS - 1), INVALID, "D-JOB-LENGTH: one less");
	BAD_SUBMIT(head.n_bindings, htole32(N_SLOTS + 1), INVALID, "D-JOB-LENGTH: one more");
	BAD_SUBMIT(head.n_bindings, htole32(UINT32_MAX), INVALID, "D-JOB-LENGTH: 2^32 - 1");
	BAD_SUBMIT(head.params[0], htole32(MAX_T + 1), INVALID, "D-JOB-PARAMS: above the maximum");
	BAD_SUBMIT(head.params[1], htole32(1), INVALID, "D-JOB-PARAMS: one that is not there");
	BAD_SUBMIT(b[1].slot, htole32(N_SLOTS), BINDING, "D-JOB-SLOTS: a slot that is not there");
	BAD_SUBMIT(b[1].slot, htole32(0), BINDING, "D-JOB-SLOTS: twice");
	BAD_SUBMIT(b[1].length, htole64(100), BINDING, "D-JOB-EXTENT: too short");
	BAD_SUBMIT(b[1].offset, htole64(4), BINDING, "D-JOB-BOUNDS: beyond the resource");
	BAD_SUBMIT(b[1].offset, htole64(-4ull), BINDING, "D-JOB-BOUNDS: 2^64");
	BAD_SUBMIT(b[0].resource, htole32(WEIGHTS + 1), ACCESS, "D-JOB-READ-ONLY");
	s = good;
	s.b[IDS].offset = htole64(2);
	s.b[IDS].length = htole64(4000);
	expect(le32toh(submit(&g, &s, N_SLOTS).status), VIRTIO_LINNET_S_BINDING, "D-JOB-ALIGN");
	s = good;
	s.head.n_bindings = htole32(N_SLOTS - 1);
	expect(le32toh(submit(&g, &s, N_SLOTS - 1).status), VIRTIO_LINNET_S_BINDING,
	       "D-JOB-SLOTS: one that is not bound");
	s = good;
	s.head.n_bindings = htole32(VIRTIO_LINNET_MAX_BINDINGS + 1);
	expect(le32toh(submit(&g, &s, VIRTIO_LINNET_MAX_BINDINGS + 1).status),
	       VIRTIO_LINNET_S_INVALID, "D-JOB-LENGTH: above the maximum");
	front_exchange(&g, VIRTIO_LINNET_JOBQ, &good, 55, 2, &done);
	expect(le32toh(done.status), VIRTIO_LINNET_S_INVALID, "D-JOB-LENGTH: a short head");

	ids[1] = V;
	done = submit(&g, &good, N_SLOTS);
	expect(le32toh(done.status), VIRTIO_LINNET_S_RANGE, "D-JOB-RANGE: a token");
	test_ok(!done.op, "D-JOB-RANGE: at operation 0");
	ids[1] = 1;
	expect(le32toh(submit(&g, &good, N_SLOTS).status), 0, "and all is well again");
}

/* ------------------------------------------------ jobs that take their time */

static void set_up_main(void)
{
	expect(front_ctx(&g, 1), 0, "a context");
	expect(attach_all(&g, 1), 0, "its resources");
	expect(front_stream(&g, 1, 5, stream, (uint32_t)stream_bytes, 60000, NULL), 0,
	       "its stream");
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

/* Submissions of the long stream in context 2, without waiting; where their ends go. */
static uint64_t ends[8];

static unsigned n_long;

static void submit_long_more(unsigned n)
{
	for (unsigned i = n_long; i < n_long + n; i++) {
		struct submission s = { .head = { htole32(2), 0, htole64(100 + i), 0, htole32(2),
						  { htole32(512) } } };
		uint64_t out = front_alloc(&g, SUBMIT_BYTES(2), 16);

		s.b[0] = (struct virtio_linnet_binding){ 0, 0, 0, htole64(1 << 20) };
		s.b[1] = (struct virtio_linnet_binding){ htole32(1), 0, htole64(1 << 20),
							 htole64(2 << 20) };
		memcpy(front_at(&g, out), &s, SUBMIT_BYTES(2));
		ends[i] = front_alloc(&g, 16, 16);
		memset(front_at(&g, ends[i]), 0xff, 16);
		front_queue(&g, VIRTIO_LINNET_JOBQ, out, SUBMIT_BYTES(2), 1, ends[i], 16);
	}
	n_long += n;
	front_kick(&g, VIRTIO_LINNET_JOBQ);
}

static void submit_long(unsigned n)
{
	n_long = 0;
	submit_long_more(n);
}

static uint32_t end_of(unsigned i)
{
	struct virtio_linnet_done *done = front_at(&g, ends[i]);

	return le32toh(__atomic_load_n(&done->status, __ATOMIC_RELAXED));
}

static bool wait_ends(unsigned n)
{
	uint32_t id, len;

	for (unsigned i = 0; i < n; i++)
		if (!front_wait(&g, VIRTIO_LINNET_JOBQ, &id, &len, FRONT_TIMEOUT) || len != 16)
			return false;
	return true;
}

static void set_up_long(void)
{
	uint64_t pages[768];
	size_t bytes;
	void *data = long_work(&bytes, 2000);

	for (unsigned i = 0; i < 768; i++)
		pages[i] = front_gpa(8 << 20) + i * 4096ull;
	front_must(data && !front_ctx(&g, 2) && !front_attach(&g, 2, 0, 0, pages, 768, 768));
	front_must(!front_stream(&g, 2, 0, data, (uint32_t)bytes, 60000, NULL));
	free(data);
}

static void cancel(uint64_t job, uint32_t wanted, const char *what)
{
	const struct virtio_linnet_job_cancel r = { HEAD(JOB_CANCEL, 2, 0), htole64(job) };

	expect(front_control(&g, &r, sizeof(r), NULL), wanted, what);
}

static void test_long(void)
{
	struct vhost_user_message m = { .request = FRONT_GET_BASE, .flags = 1, .size = 8 };
	double start = seconds();
	uint32_t id, len;

	set_up_long();
	submit_long(3);
	/* the first runs, the others wait */
	front_must(!front_wait(&g, VIRTIO_LINNET_JOBQ, &id, &len, 100));
	expect(front_simple(&g, VIRTIO_LINNET_RESOURCE_DETACH, 2, 0), VIRTIO_LINNET_S_BUSY,
	       "D-RES-BUSY: a resource that is used");
	expect(front_simple(&g, VIRTIO_LINNET_STREAM_DESTROY, 2, 0), VIRTIO_LINNET_S_BUSY,
	       "D-STR-BUSY: a stream that is used");
	cancel(101, 0, "cancel a job that waits");
	test_ok(wait_ends(1) && end_of(1) == VIRTIO_LINNET_S_CANCELLED && end_of(0) == UINT32_MAX,
		"D-CANCEL-WAITING: it ends at once");
	cancel(100, 0, "cancel the job that runs");
	test_ok(wait_ends(1) && end_of(0) == VIRTIO_LINNET_S_CANCELLED,
		"D-CANCEL-RUNNING: it ends soon");
	front_must(!front_wait(&g, VIRTIO_LINNET_JOBQ, &id, &len, 50));
	submit_long_more(1);
	expect(front_simple(&g, VIRTIO_LINNET_CTX_DESTROY, 2, 0), 0, "end the others' context");
	test_ok(end_of(2) == VIRTIO_LINNET_S_CANCELLED && end_of(3) == VIRTIO_LINNET_S_CANCELLED,
		"D-CTX-JOBS: its jobs end before");
	test_ok(wait_ends(2), "D-CTX-JOBS: and are in the used ring");

	/* a reset by request */
	set_up_long();
	submit_long(3);
	front_must(!front_wait(&g, VIRTIO_LINNET_JOBQ, &id, &len, 50));
	expect(front_simple(&g, VIRTIO_LINNET_RESET, 1, 0), VIRTIO_LINNET_S_INVALID,
	       "D-REQ-RESERVED: of a reset");
	expect(front_simple(&g, VIRTIO_LINNET_RESET, 0, 0), 0, "reset by request");
	test_ok(wait_ends(3) && end_of(0) == VIRTIO_LINNET_S_CANCELLED &&
		end_of(1) == VIRTIO_LINNET_S_CANCELLED && end_of(2) == VIRTIO_LINNET_S_CANCELLED,
		"D-RESET-JOBS: no job is left");
	expect(front_simple(&g, VIRTIO_LINNET_CTX_DESTROY, 2, 0), VIRTIO_LINNET_S_NOENT,
	       "D-RESET-REQUEST: no context is left");
	set_up_main();

	/* stopping the queue: what has not begun stays in the ring */
	set_up_long();
	submit_long(3);
	front_must(!front_wait(&g, VIRTIO_LINNET_JOBQ, &id, &len, 50));
	m.state.index = VIRTIO_LINNET_JOBQ;
	front_must(front_send(&g, &m, NULL, 0) && front_reply(&g, &m));
	test_ok(wait_ends(1) && end_of(0) == VIRTIO_LINNET_S_CANCELLED,
		"D-STOP-RUNNING: a stopped queue ends the job that runs");
	test_ok(m.state.num == (uint16_t)(g.q[VIRTIO_LINNET_JOBQ].next - 2) &&
		end_of(1) == UINT32_MAX && end_of(2) == UINT32_MAX,
		"D-STOP-WAITING: and leaves the others in the ring");
	/* going on from there */
	front_must(!front_state(&g, FRONT_BASE, VIRTIO_LINNET_JOBQ, m.state.num));
	front_must(!front_fd(&g, FRONT_KICK, VIRTIO_LINNET_JOBQ, g.q[VIRTIO_LINNET_JOBQ].kick));
	front_must(!front_fd(&g, FRONT_CALL, VIRTIO_LINNET_JOBQ, g.q[VIRTIO_LINNET_JOBQ].call));
	cancel(102, 0, "the device has taken them again");
	cancel(101, 0, "both of them");
	test_ok(wait_ends(2) && end_of(1) == VIRTIO_LINNET_S_CANCELLED &&
		end_of(2) == VIRTIO_LINNET_S_CANCELLED, "and they end");
	test_ok(seconds() - start < 20, "in %.1f s, of minutes of work", seconds() - start);
}

/* ---------------------------------------------------------------- the rest */

static void test_life(void)
{
	const struct submission s = submission(1, 5, 1, 1);
	struct virtio_linnet_config c = front_config(&g);

	test_ok(le32toh(c.version) == VIRTIO_LINNET_VERSION &&
		le32toh(c.stream_version) == LINNET_STREAM_VERSION &&
		le32toh(c.max_request_bytes) >= VIRTIO_LINNET_MIN_REQUEST &&
		le16toh(c.n_threads) == 2 && !c.reserved && c.isa[0] && !c.isa[15],
		"D-CFG-FIELDS: configuration space");
	test_ok(!front_set_memory(&g), "a memory table while objects live");
	expect(le32toh(submit(&g, &s, N_SLOTS).status), 0,
	       "D-RES-LIFE: resources stay where they are");
	/* a driver that starts again, as virtio_uml does it */
	for (unsigned i = 0; i < VIRTIO_LINNET_QUEUES; i++)
		front_must(!front_state(&g, FRONT_ENABLE, i, 0));
	front_start_queue(&g, VIRTIO_LINNET_CONTROLQ);
	front_start_queue(&g, VIRTIO_LINNET_JOBQ);
	expect(front_simple(&g, VIRTIO_LINNET_CTX_DESTROY, 1, 0), VIRTIO_LINNET_S_NOENT,
	       "D-RESET-OBJECTS: nothing is left after a reset");
	expect(front_ctx(&g, 1), 0, "and the device goes on");
}

/* Chains and rings that are no chains and rings. */
static void test_rings(void)
{
	const struct virtio_linnet_head reset = front_head(VIRTIO_LINNET_RESET, 0, 0);
	struct front_queue *q;
	struct front f;
	struct front_device d;
	uint64_t out, in;
	uint32_t id, len, n = 0;

	front_init(&f);
	front_device_start(&f, &d, 1, 1 << 30);
	front_negotiate(&f);
	test_ok(front_ask_u64(&f, FRONT_SET_FEATURES, FRONT_F_PROTOCOL) == 1,
		"D-FEAT-VERSION: a driver of old");
	test_ok(front_ask_u64(&f, FRONT_SET_FEATURES, 1ull << VIRTIO_F_VERSION_1 | 1ull << 5) == 1,
		"features that are not there");
	test_ok(!front_ask_u64(&f, FRONT_SET_FEATURES,
			       1ull << VIRTIO_F_VERSION_1 | FRONT_F_PROTOCOL), "those that are");
	front_start_queue(&f, VIRTIO_LINNET_CONTROLQ);
	front_start_queue(&f, VIRTIO_LINNET_JOBQ);
	q = &f.q[VIRTIO_LINNET_CONTROLQ];
	out = front_alloc(&f, 16, 16);
	in = front_alloc(&f, 16, 16);
	memcpy(front_at(&f, out), &reset, sizeof(reset));

#define CHAIN(what, ...) do {								\
	const struct vring_desc d_[] = { __VA_ARGS__ };					\
	memcpy(q->desc, d_, sizeof(d_));						\
	memset(front_at(&f, in), 0xff, 16);						\
	front_offer(&f, VIRTIO_LINNET_CONTROLQ, 0);					\
	front_kick(&f, VIRTIO_LINNET_CONTROLQ);						\
	test_ok(front_wait(&f, VIRTIO_LINNET_CONTROLQ, &id, &len, FRONT_TIMEOUT) && !id && \
		!len && *(uint64_t *)front_at(&f, in) == UINT64_MAX, "D-VQ-SHORT: " what); \
} while (0)
#define NEXT	VRING_DESC_F_NEXT
#define WRITE	VRING_DESC_F_WRITE
	CHAIN("no room for the response", { out, 16, NEXT, 1 }, { in, 15, WRITE, 0 });
	CHAIN("nothing to write", { out, 16, 0, 0 });
	CHAIN("an address that is none", { FRONT_LOW - 8, 16, NEXT, 1 }, { in, 16, WRITE, 0 });
	CHAIN("a response in a hole", { out, 16, NEXT, 1 },
	      { FRONT_LOW + FRONT_HALF - 8, 16, WRITE, 0 });
	CHAIN("a loop", { out, 16, NEXT, 1 }, { out, 0, NEXT, 0 });
	CHAIN("a number beyond the ring", { out, 16, NEXT, FRONT_RING });
	CHAIN("reading after writing", { in, 16, WRITE | NEXT, 1 }, { out, 16, 0, 0 });
	CHAIN("an empty indirect table", { out, 0, VRING_DESC_F_INDIRECT, 0 });
	CHAIN("half a descriptor", { out, 8, VRING_DESC_F_INDIRECT, 0 });
	CHAIN("a table and more", { out, 16, VRING_DESC_F_INDIRECT | NEXT, 1 },
	      { in, 16, WRITE, 0 });
	CHAIN("a table in a hole", { FRONT_LOW + FRONT_HALF, 16, VRING_DESC_F_INDIRECT, 0 });
	*(struct vring_desc *)front_at(&f, out) =
		(struct vring_desc){ out, 16, VRING_DESC_F_INDIRECT, 0 };
	CHAIN("a table in a table", { out, 16, VRING_DESC_F_INDIRECT, 0 });

	/* several at once */
	q->free_at = 0;
	f.top = 1 << 20;
	out = front_alloc(&f, 24 * 8, 16);
	in = front_alloc(&f, 16 * 8, 16);
	for (uint32_t i = 0; i < 8; i++) {
		const struct virtio_linnet_ctx_create c = {
			front_head(VIRTIO_LINNET_CTX_CREATE, i / 2, 0), 0, 0 };

		memcpy(front_at(&f, out + 24 * i), &c, sizeof(c));
		front_queue(&f, VIRTIO_LINNET_CONTROLQ, out + 24 * i, 24, 1, in + 16 * i, 16);
	}
	front_kick(&f, VIRTIO_LINNET_CONTROLQ);
	for (uint32_t i = 0; i < 8; i++) {
		const uint32_t *st = front_at(&f, in + 16 * i);

		n += front_wait(&f, VIRTIO_LINNET_CONTROLQ, &id, &len, FRONT_TIMEOUT) &&
		     id == 2 * i && *st == (i % 2 ? VIRTIO_LINNET_S_EXIST : VIRTIO_LINNET_S_OK);
	}
	test_ok(n == 8, "D-VQ-CONTROL-ORDER: requests are executed in order");

	front_offer(&f, VIRTIO_LINNET_CONTROLQ, FRONT_RING);
	front_offer(&f, VIRTIO_LINNET_CONTROLQ, 0);
	front_kick(&f, VIRTIO_LINNET_CONTROLQ);
	test_ok(!front_wait(&f, VIRTIO_LINNET_CONTROLQ, &id, &len, 100),
		"D-VQ-BROKEN: a head that is none stops the queue");
	front_must(!front_state(&f, FRONT_ENABLE, VIRTIO_LINNET_CONTROLQ, 0));
	front_start_queue(&f, VIRTIO_LINNET_CONTROLQ);
	expect(front_simple(&f, VIRTIO_LINNET_RESET, 0, 0), 0,
	       "D-VQ-BROKEN: until it starts again");
	q->next += FRONT_RING;
	front_offer(&f, VIRTIO_LINNET_CONTROLQ, 0);
	front_kick(&f, VIRTIO_LINNET_CONTROLQ);
	test_ok(!front_wait(&f, VIRTIO_LINNET_CONTROLQ, &id, &len, 100),
		"D-VQ-BROKEN: and so does an index that runs ahead");
	front_device_end(&f, &d);
	front_free(&f);
}

/* x = x + x, several times before the device looks: each must see the last one's end. */
static void test_order(void)
{
	const uint32_t max[] = { 1 }, ne[] = { 32, 1 };
	struct linnet_operand x = linnet_operand_dense(0, 0, F32, 2, ne);
	struct linnet_builder b;
	uint64_t pages[] = { front_gpa(16 << 20) }, out, in;
	float *v = front_at(&g, pages[0]);
	uint32_t id, len;
	size_t bytes;
	void *data;

	linnet_builder_start(&b, max, 1, 1);
	linnet_builder_op(&b, LINNET_OP_ADD);
	OP(&b, 0, &x, &x, &x);
	data = linnet_builder_finish(&b, &bytes);
	front_must(data && !front_ctx(&g, 4) && !front_attach(&g, 4, 0, 0, pages, 1, 1));
	front_must(!front_stream(&g, 4, 0, data, (uint32_t)bytes, 4000, NULL));
	for (unsigned i = 0; i < 32; i++)
		v[i] = 1;
	out = front_alloc(&g, SUBMIT_BYTES(1) * 20, 16);
	in = front_alloc(&g, 16 * 20, 16);
	for (unsigned i = 0; i < 20; i++) {
		struct submission s = { .head = { htole32(4), 0, htole64(i), 0, htole32(1),
						  { htole32(1) } } };

		s.b[0].length = htole64(4096);
		memcpy(front_at(&g, out + SUBMIT_BYTES(1) * i), &s, SUBMIT_BYTES(1));
		front_queue(&g, VIRTIO_LINNET_JOBQ, out + SUBMIT_BYTES(1) * i, SUBMIT_BYTES(1), 1,
			    in + 16 * i, 16);
	}
	front_kick(&g, VIRTIO_LINNET_JOBQ);
	for (unsigned i = 0; i < 20; i++)
		front_must(front_wait(&g, VIRTIO_LINNET_JOBQ, &id, &len, FRONT_TIMEOUT));
	test_ok(v[0] == 1 << 20 && v[31] == 1 << 20,
		"D-JOB-ORDER: twenty jobs, one after the other");
	front_must(!front_simple(&g, VIRTIO_LINNET_CTX_DESTROY, 4, 0));
	free(data);
}

static void test_limit(void)
{
	struct front f;
	struct front_device d;
	size_t bytes;
	void *data = long_work(&bytes, 1);
	uint32_t n = 0;

	front_init(&f);
	/* a context and a little; the scratch of 512 tokens is a megabyte */
	front_device_start(&f, &d, 1, 400 << 10);
	front_start(&f);
	while (n < 100 && !front_ctx(&f, n))
		n++;
	test_ok(n > 1 && n < 10, "D-LIMIT: contexts are bounded by the device's memory (%u)", n);
	while (n)
		front_must(!front_simple(&f, VIRTIO_LINNET_CTX_DESTROY, --n, 0));
	front_must(!front_ctx(&f, 0));
	expect(front_stream(&f, 0, 0, data, (uint32_t)bytes, 4000, NULL), VIRTIO_LINNET_S_NOMEM,
	       "D-LIMIT: and so is the scratch of streams");
	front_device_end(&f, &d);
	front_free(&f);
	free(data);
}

/* Tell the device of the memory that says what is in flight. */
static uint64_t tell_inflight(int fd, uint64_t bytes)
{
	struct vhost_user_message m = { .request = FRONT_SET_INFLIGHT,
					.size = sizeof(m.inflight) };

	m.inflight.bytes = bytes;
	m.inflight.n_queues = VIRTIO_LINNET_QUEUES;
	m.inflight.queue_size = FRONT_RING;
	return front_ask(&g, &m, &fd, 1);
}

/*
 * Another process for a guest that had one: it goes on as QEMU does, at what is used; or the
 * guest was reset in between.
 */
static pid_t come_back(int fd, uint64_t bytes, bool reset)
{
	pid_t pid = front_process_start(&g, 1, 1 << 30);
	struct vhost_user_message m = { .request = FRONT_RESET };

	front_negotiate(&g);
	front_must(!tell_inflight(fd, bytes));
	front_must(!reset || !front_ask(&g, &m, NULL, 0));
	if (reset) {
		front_start_queue(&g, VIRTIO_LINNET_CONTROLQ);
		front_start_queue(&g, VIRTIO_LINNET_JOBQ);
		return pid;
	}
	for (unsigned i = 0; i < VIRTIO_LINNET_QUEUES; i++)
		front_resume_queue(&g, i, le16toh(g.q[i].used->idx));
	return pid;
}

/* The device is killed when a job runs, one waits, and one between them has ended. */
static void test_killed(void)
{
	struct front_queue *q = &g.q[VIRTIO_LINNET_JOBQ];
	struct vhost_user_message m;
	struct vq_inflight *note, *jobs;
	unsigned seen[3] = { 0 };
	uint32_t id, len;
	uint64_t bytes;
	pid_t pid;
	int fd;

	front_init(&g);
	pid = front_process_start(&g, 1, 1 << 30);
	front_negotiate(&g);
	fd = front_get_inflight(&g, &m);
	bytes = m.inflight.bytes;
	test_ok(bytes >= VIRTIO_LINNET_QUEUES * (16 + 16 * FRONT_RING),
		"memory that says what is in flight");
	test_ok(tell_inflight(fd, bytes + 4096) == 1, "more of it than there is");
	test_ok(tell_inflight(fd, bytes - 64) == 1, "less than the rings need");
	test_ok(!tell_inflight(fd, bytes), "all of it");
	for (unsigned i = 0; i < VIRTIO_LINNET_QUEUES; i++)
		front_start_queue(&g, i);
	test_ok(tell_inflight(fd, bytes) == 1, "other memory under rings that run");
	front_must(!front_state(&g, FRONT_ENABLE, VIRTIO_LINNET_JOBQ, 0));
	test_ok(front_state(&g, FRONT_NUM, VIRTIO_LINNET_JOBQ, 2 * FRONT_RING) == 1,
		"a ring that it has no room for");
	front_must(!front_state(&g, FRONT_ENABLE, VIRTIO_LINNET_JOBQ, 1));
	set_up_long();
	submit_long(3);
	front_must(!front_wait(&g, VIRTIO_LINNET_JOBQ, &id, &len, 50));
	cancel(101, 0, "the second of three jobs is cancelled");
	front_must(wait_ends(1) && end_of(1) == VIRTIO_LINNET_S_CANCELLED);
	front_process_kill(&g, pid);
	test_ok(le16toh(q->used->idx) == 1 && end_of(0) == UINT32_MAX && end_of(2) == UINT32_MAX,
		"the device dies before the others end");

	pid = come_back(fd, bytes, false);
	/* two descriptors each */
	for (unsigned i = 0; i < 2; i++)
		if (front_wait(&g, VIRTIO_LINNET_JOBQ, &id, &len, FRONT_TIMEOUT) && id < 6)
			seen[id / 2]++;
	test_ok(seen[0] == 1 && !seen[1] && seen[2] == 1, "the next one ends both, each once");
	test_ok(end_of(0) == VIRTIO_LINNET_S_NOENT && end_of(2) == VIRTIO_LINNET_S_NOENT,
		"with an error, as their context is gone");
	test_ok(!front_wait(&g, VIRTIO_LINNET_JOBQ, &id, &len, 50), "and nothing else ends");

	/* a death between the used ring and what says so */
	set_up_long();
	front_process_kill(&g, pid);
	note = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	front_must(note != MAP_FAILED);
	jobs = (void *)((char *)note + vq_inflight_bytes(FRONT_RING));
	front_must(jobs->used_idx == 3 && jobs->last / 2 == 2 && !jobs->desc[jobs->last].taken);
	jobs->used_idx--;
	jobs->desc[jobs->last].taken = 1;
	pid = come_back(fd, bytes, false);
	test_ok(!front_wait(&g, VIRTIO_LINNET_JOBQ, &id, &len, 50),
		"what is in the used ring is not in flight");
	munmap(note, bytes);
	set_up_long();
	submit_long(2);
	front_must(!front_wait(&g, VIRTIO_LINNET_JOBQ, &id, &len, 50));
	cancel(100, 0, "the one after it takes jobs");
	cancel(101, 0, "and cancels them");
	test_ok(wait_ends(2) && end_of(0) == VIRTIO_LINNET_S_CANCELLED &&
		end_of(1) == VIRTIO_LINNET_S_CANCELLED, "which end");

	/* what a stopped queue left in the ring is the front end's again */
	submit_long(3);
	front_must(!front_wait(&g, VIRTIO_LINNET_JOBQ, &id, &len, 50));
	m = (struct vhost_user_message){ .request = FRONT_GET_BASE, .flags = 1, .size = 8 };
	m.state.index = VIRTIO_LINNET_JOBQ;
	front_must(front_send(&g, &m, NULL, 0) && front_reply(&g, &m) && wait_ends(1));
	front_must(!front_state(&g, FRONT_ENABLE, VIRTIO_LINNET_JOBQ, 0));
	front_start_queue(&g, VIRTIO_LINNET_JOBQ);
	submit_long(1);
	front_must(!front_wait(&g, VIRTIO_LINNET_JOBQ, &id, &len, 50));
	cancel(100, 0, "a ring that was stopped and begins anew has nothing in flight");
	test_ok(wait_ends(1) && end_of(0) == VIRTIO_LINNET_S_CANCELLED, "but the new job");

	submit_long(3);
	front_must(!front_wait(&g, VIRTIO_LINNET_JOBQ, &id, &len, 50));
	front_process_kill(&g, pid);
	pid = come_back(fd, bytes, true);
	set_up_long();
	submit_long(1);
	front_must(!front_wait(&g, VIRTIO_LINNET_JOBQ, &id, &len, 50));
	cancel(100, 0, "after a reset nothing is in flight");
	test_ok(wait_ends(1) && end_of(0) == VIRTIO_LINNET_S_CANCELLED, "but the new job");
	front_process_kill(&g, pid);
	front_free(&g);
	close(fd);
}

int main(void)
{
	for (unsigned i = 0; i < N_SLOTS; i++)
		front_must(!posix_memalign((void **)&want[i], 4096, slots[i].bytes));
	stream = layer(&stream_bytes);
	front_must(stream);
	test_bits(false, false, 1);
	test_bits(true, false, 3);
	test_bits(false, true, 2);
	test_bits(true, true, 2);
	test_huge();

	front_init(&g);
	front_device_start(&g, &gd, 2, 1 << 30);
	front_start(&g);
	scatter();
	for (unsigned i = 0; i < N_SLOTS; i++)
		to_guest(&g, i, want[i]);
	set_up_main();
	test_requests();
	test_submissions();
	test_long();
	test_order();
	test_life();
	/* hang up in the middle of work */
	set_up_long();
	submit_long(4);
	test_ok(!front_device_end(&g, &gd), "D-GONE: a guest that goes in the middle of jobs");
	front_free(&g);
	test_rings();
	test_limit();
	test_killed();
	for (unsigned i = 0; i < N_SLOTS; i++)
		free(want[i]);
	free(stream);
	return test_end();
}
