// SPDX-License-Identifier: MIT
/*
 * Conformance vectors of Documentation/device-spec.rst: for each operation, and each type
 * of weights and caches, a stream of one or two operations on memory that a formula
 * fills; the checksum of all memory afterwards is what a device must leave. The device
 * here is held to them, at the CPU level of LINNET_CPU.
 *
 * Memory: slot s holds SLOT bytes; the 32-bit words of all slots, in order, are
 * x(i + 1) = x(i) * 1664525 + 1013904223, x(0) = number of the vector, of which
 * words are made by the slot's role:
 *	floats: (x >> 9) * 2^-23 - 0.5 as F32
 *	ids: (x >> 16) % 4, as I32
 *	raw: halves h of the word as (h & 0x2fff | 0x0c00 & ~h), so that every scale in F16
 *	is finite and neither zero nor below normal; F32 weights are floats
 * The checksum is FNV-1a (64 bits) of all slots' bytes in order.
 */
#include "frontend.h"

#include "runtime/model/builder.h"
#include "tests/test.h"

#include <inttypes.h>

#define SLOT	(64u << 10)
#define SLOTS	5
#define TOKENS	3
#define T	(LINNET_DIM_PARAM | 0)

enum role { FLOATS, IDS, RAW };

struct vector {
	const char *name;
	enum linnet_opcode code;
	uint32_t type;		/* of weights or caches */
	uint32_t attr;
	uint64_t sum;
};

#define F32 LINNET_TYPE_F32
#define I32 LINNET_TYPE_I32

static const struct vector vectors[] = {
#include "vectors.h"
};

static struct linnet_builder b;

static void operand(uint32_t slot, uint64_t offset, uint32_t type, uint32_t n, uint32_t a,
		    uint32_t c, uint32_t d, uint32_t e)
{
	const uint32_t ne[] = { a, c, d, e };
	uint32_t max[4];
	struct linnet_operand o;

	for (unsigned i = 0; i < 4; i++)
		max[i] = ne[i] == T ? TOKENS : ne[i];
	o = linnet_operand_dense(slot, offset, type, n, max);
	for (unsigned i = 0; i < n; i++)
		o.ne[i] = ne[i];
	linnet_builder_operand(&b, &o);
}

#define OP1(slot, offset, type, a)		operand(slot, offset, type, 1, a, 1, 1, 1)
#define OP2(slot, offset, type, a, c)		operand(slot, offset, type, 2, a, c, 1, 1)
#define OP3(slot, offset, type, a, c, d)	operand(slot, offset, type, 3, a, c, d, 1)

/* Slots 0: floats that are written, 1: floats, 2: raw, 3: ids, 4: a cache. */
static void build(const struct vector *v)
{
	linnet_builder_op(&b, v->code);
	switch (v->code) {
	case LINNET_OP_GET_ROWS:
		linnet_builder_f32(&b, 0.75f);
		OP2(0, 0, F32, 256, T), OP2(2, 0, v->type, 256, 4), OP1(3, 0, I32, T);
		break;
	case LINNET_OP_RMS_NORM:
		linnet_builder_f32(&b, 1e-5f);
		OP3(0, 0, F32, 80, 2, T), OP3(1, 0, F32, 80, 2, T), OP1(1, 8192, F32, 80);
		break;
	case LINNET_OP_MATMUL:
		linnet_builder_u32(&b, 1);
		OP2(1, 0, F32, 256, T), OP2(0, 0, F32, 20, T), OP2(2, 0, v->type, 256, 20);
		OP1(1, 8192, F32, 20);
		break;
	case LINNET_OP_MATMUL_EXPERTS:
		OP3(0, 0, F32, 8, 1, T), OP3(1, 0, F32, 256, 1, T), OP3(2, 0, v->type, 256, 8, 4);
		OP2(3, 0, I32, 1, T), OP1(3, 64, I32, 4);
		break;
	case LINNET_OP_ROPE_TABLE:
		linnet_builder_f32(&b, 10000);
		linnet_builder_f32(&b, 0.25f);
		linnet_builder_f32(&b, 1);
		linnet_builder_f32(&b, 2);
		linnet_builder_f32(&b, 6);
		linnet_builder_f32(&b, 1.1f);
		OP2(0, 0, F32, 16, T), OP1(3, 0, I32, T);
		linnet_builder_none(&b);
		break;
	case LINNET_OP_ROPE:
		linnet_builder_u32(&b, v->attr);
		OP3(0, 0, F32, 40, 2, T), OP3(1, 0, F32, 40, 2, T), OP2(1, 8192, F32, 32, T);
		break;
	case LINNET_OP_KV_WRITE:
		linnet_builder_u32(&b, v->attr);
		operand(4, 0, v->type, 4, 32, LINNET_KV_PAGE, 1, 1);
		OP3(1, 0, F32, 32, 1, T), OP1(3, 0, I32, T), OP1(3, 512, I32, T);
		OP2(3, 256, I32, 1, 1);
		break;
	case LINNET_OP_ATTENTION:
		linnet_builder_f32(&b, 0.2f);
		linnet_builder_f32(&b, v->attr ? 5 : 0);
		linnet_builder_u32(&b, v->attr ? 2 : 0);
		OP3(0, 0, F32, 32, 2, T), OP3(1, 0, F32, 32, 2, T);
		operand(4, 0, v->type, 4, 32, LINNET_KV_PAGE, 1, 1);
		operand(4, 32768, v->type, 4, 32, LINNET_KV_PAGE, 1, 1);
		OP1(3, 0, I32, T), OP1(3, 512, I32, T), OP2(3, 256, I32, 1, 1);
		break;
	case LINNET_OP_GLU:
		linnet_builder_u32(&b, v->attr);
		OP2(0, 0, F32, 50, T), OP2(1, 0, F32, 50, T), OP2(1, 4096, F32, 50, T);
		break;
	case LINNET_OP_ADD:
		OP2(0, 0, F32, 50, T), OP2(1, 0, F32, 50, T), OP2(1, 4096, F32, 50, T);
		break;
	case LINNET_OP_SOFTCAP:
		linnet_builder_f32(&b, 0.4f);
		OP2(0, 0, F32, 50, T), OP2(1, 0, F32, 50, T);
		break;
	case LINNET_OP_ROUTE:
		linnet_builder_u32(&b, v->attr);
		linnet_builder_f32(&b, 2.5f);
		OP2(0, 0, I32, 3, T), OP2(0, 4096, F32, 3, T), OP2(1, 0, F32, 9, T);
		break;
	case LINNET_OP_COMBINE:
		OP2(0, 0, F32, 50, T), OP3(1, 0, F32, 50, 3, T), OP2(1, 8192, F32, 3, T);
		break;
	default:
		front_must(false);
	}
}

static void fill(char *p, const struct vector *v, uint32_t x)
{
	static const enum role roles[SLOTS] = { FLOATS, FLOATS, RAW, IDS, RAW };

	for (uint32_t i = 0; i < SLOTS * SLOT / 4; i++) {
		enum role role = roles[i / (SLOT / 4)];
		uint32_t w;
		float f;

		if (role == RAW && v->type == F32)
			role = FLOATS;
		x = x * 1664525 + 1013904223;
		switch (role) {
		case FLOATS:
			f = (float)(x >> 9) * 0x1p-23f - 0.5f;
			memcpy(&w, &f, 4);
			break;
		case IDS:
			w = (x >> 16) % 4;
			break;
		default:
			w = (x & 0x2fff2fff) | (0x0c000c00 & ~x);
		}
		memcpy(p + i * 4, &w, 4);
	}
	/* the one sequence, its one page, the tokens' order */
	memset(p + 3 * SLOT + 256, 0, 4);
	memset(p + 3 * SLOT + 512, 0, 4 * TOKENS);
}

static uint64_t checksum(const char *p, size_t n)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)p[i]) * 0x100000001b3u;
	return h;
}

int main(void)
{
	const uint32_t max[] = { TOKENS };
	const bool print = getenv("LINNET_PRINT_VECTORS");
	uint64_t pages[SLOT / 4096], base;
	struct front_device d;
	struct front f;

	front_init(&f);
	front_device_start(&f, &d, 2, 1 << 30);
	front_start(&f);
	front_must(!front_ctx(&f, 0));
	base = front_alloc(&f, SLOTS * SLOT, 4096);
	for (uint32_t s = 0; s < SLOTS; s++) {
		for (uint32_t i = 0; i < SLOT / 4096; i++)
			pages[i] = base + s * SLOT + i * 4096;
		front_must(!front_attach(&f, 0, s, 0, pages, SLOT / 4096, 16));
	}
	for (uint32_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		struct {
			struct virtio_linnet_submit h;
			struct virtio_linnet_binding b[SLOTS];
		} s = { { .n_bindings = htole32(SLOTS), .params = { htole32(TOKENS) } } };
		struct virtio_linnet_done done;
		uint64_t sum;
		size_t bytes;
		void *data;

		linnet_builder_start(&b, max, 1, SLOTS);
		build(&vectors[i]);
		data = linnet_builder_finish(&b, &bytes);
		front_must(data);
		front_must(!front_stream(&f, 0, 0, data, (uint32_t)bytes, 4000, NULL));
		for (uint32_t k = 0; k < SLOTS; k++)
			s.b[k] = (struct virtio_linnet_binding){ htole32(k), htole32(k), 0,
								 htole64(SLOT) };
		fill(front_at(&f, base), &vectors[i], i);
		front_exchange(&f, VIRTIO_LINNET_JOBQ, &s, sizeof(s), 1, &done);
		sum = checksum(front_at(&f, base), SLOTS * SLOT);
		if (print)
			printf("%s %u: 0x%016" PRIx64 "\n", vectors[i].name, done.status, sum);
		else
			test_ok(!done.status && sum == vectors[i].sum, "D-NUM-VECTORS: %s",
				vectors[i].name);
		front_must(!front_simple(&f, VIRTIO_LINNET_STREAM_DESTROY, 0, 0));
		free(data);
	}
	front_must(!front_device_end(&f, &d));
	front_free(&f);
	return print ? 0 : test_end();
}
