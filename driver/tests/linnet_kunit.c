// SPDX-License-Identifier: GPL-2.0-only
/*
 * Unit tests of the rules about numbers (linnet_check.c), in a module of their own:
 * linnet_kunit.ko needs linnet.ko and runs when it is loaded.
 */
#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "../linnet_check.h"
#include "../linnet_compat.h"

#define MAGIC 0x12345678

struct stream {
	struct linnet_stream_header head;
	struct linnet_stream_param param[LINNET_MAX_PARAMS];
	u64 op[8];
};

static void stream_good(struct stream *s)
{
	memset(s, 0, sizeof(*s));
	s->head.magic = MAGIC;
	s->head.bytes = sizeof(*s);
	s->head.n_params = 2;
	s->head.n_slots = 3;
	s->head.n_ops = 1;
	s->param[0].max = 7;
	s->param[1].max = U32_MAX;
}

static void linnet_test_stream(struct kunit *test)
{
	struct linnet_stream out = { };
	struct stream s;

	stream_good(&s);
	KUNIT_EXPECT_EQ(test, linnet_check_stream(&s, sizeof(s), MAGIC, &out), 0);
	KUNIT_EXPECT_EQ(test, out.n_params, 2);
	KUNIT_EXPECT_EQ(test, out.n_slots, 3);
	KUNIT_EXPECT_EQ(test, out.max[0], 7);
	KUNIT_EXPECT_EQ(test, out.max[1], U32_MAX);

	KUNIT_EXPECT_EQ(test, linnet_check_stream(&s, sizeof(s), MAGIC + 1, &out), -EINVAL);
	KUNIT_EXPECT_EQ(test, linnet_check_stream(&s, sizeof(s) - 8, MAGIC, &out), -EINVAL);
	KUNIT_EXPECT_EQ(test, linnet_check_stream(&s, 0, MAGIC, &out), -EINVAL);
	KUNIT_EXPECT_EQ(test, linnet_check_stream(&s, sizeof(s.head) - 8, MAGIC, &out), -EINVAL);
	s.head.bytes = sizeof(s) - 4;
	KUNIT_EXPECT_EQ(test, linnet_check_stream(&s, sizeof(s) - 4, MAGIC, &out), -EINVAL);
}

static void linnet_test_stream_counts(struct kunit *test)
{
	struct linnet_stream out = { };
	struct stream s;

	stream_good(&s);
	s.head.n_params = LINNET_MAX_PARAMS + 1;
	KUNIT_EXPECT_EQ(test, linnet_check_stream(&s, sizeof(s), MAGIC, &out), -E2BIG);
	stream_good(&s);
	s.head.n_slots = LINNET_MAX_SLOTS + 1;
	KUNIT_EXPECT_EQ(test, linnet_check_stream(&s, sizeof(s), MAGIC, &out), -E2BIG);
	s.head.n_slots = LINNET_MAX_SLOTS;
	KUNIT_EXPECT_EQ(test, linnet_check_stream(&s, sizeof(s), MAGIC, &out), 0);
	s.head.n_ops = LINNET_MAX_OPS + 1;
	KUNIT_EXPECT_EQ(test, linnet_check_stream(&s, sizeof(s), MAGIC, &out), -E2BIG);
	s.head.n_ops = 0;
	KUNIT_EXPECT_EQ(test, linnet_check_stream(&s, sizeof(s), MAGIC, &out), -EINVAL);
	stream_good(&s);
	s.param[1].reserved = 1;
	KUNIT_EXPECT_EQ(test, linnet_check_stream(&s, sizeof(s), MAGIC, &out), -EINVAL);
	/* The parameters lie beyond the end. */
	stream_good(&s);
	s.head.bytes = sizeof(s.head) + sizeof(s.param[0]);
	KUNIT_EXPECT_EQ(test, linnet_check_stream(&s, s.head.bytes, MAGIC, &out), -EINVAL);
}

static void linnet_test_params(struct kunit *test)
{
	struct linnet_stream s = { .n_params = 2, .max = { 5, 0, 9 } };
	u32 params[LINNET_MAX_PARAMS] = { 5 };

	KUNIT_EXPECT_EQ(test, linnet_check_params(&s, 2, params), 0);
	KUNIT_EXPECT_EQ(test, linnet_check_params(&s, 1, params), -EINVAL);
	KUNIT_EXPECT_EQ(test, linnet_check_params(&s, 3, params), -EINVAL);
	params[0] = 6;
	KUNIT_EXPECT_EQ(test, linnet_check_params(&s, 2, params), -EINVAL);
	params[0] = 0;
	params[1] = 1;
	KUNIT_EXPECT_EQ(test, linnet_check_params(&s, 2, params), -EINVAL);
	params[1] = 0;
	params[2] = 1;
	KUNIT_EXPECT_EQ(test, linnet_check_params(&s, 2, params), -EINVAL);
	params[2] = 0;
	params[LINNET_MAX_PARAMS - 1] = 1;
	KUNIT_EXPECT_EQ(test, linnet_check_params(&s, 2, params), -EINVAL);
}

static void linnet_test_piece(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, linnet_check_piece(0, 1, 1), 0);
	KUNIT_EXPECT_EQ(test, linnet_check_piece(4095, 1, 4096), 0);
	KUNIT_EXPECT_EQ(test, linnet_check_piece(0, 0, 4096), -EINVAL);
	KUNIT_EXPECT_EQ(test, linnet_check_piece(0, 4097, 4096), -EOVERFLOW);
	KUNIT_EXPECT_EQ(test, linnet_check_piece(4096, 1, 4096), -EOVERFLOW);
	KUNIT_EXPECT_EQ(test, linnet_check_piece(U64_MAX, 1, U64_MAX), -EOVERFLOW);
	KUNIT_EXPECT_EQ(test, linnet_check_piece(1, U64_MAX, U64_MAX), -EOVERFLOW);
	KUNIT_EXPECT_EQ(test, linnet_check_piece(U64_MAX - 1, 1, U64_MAX), 0);
}

static void linnet_test_slots(struct kunit *test)
{
	/* Too large for the stack; tests run one after the other. */
	static const struct drm_linnet_binding *slot[LINNET_MAX_SLOTS];
	static struct drm_linnet_binding in[LINNET_MAX_SLOTS];
	u32 i;

	memset(slot, 0, sizeof(slot));
	/* In any order, and not all of them. */
	for (i = 0; i < LINNET_MAX_SLOTS; i++)
		in[i].slot = i * 37 % LINNET_MAX_SLOTS;
	KUNIT_EXPECT_EQ(test, linnet_check_slots(in, 2, LINNET_MAX_SLOTS, slot), 0);
	KUNIT_EXPECT_PTR_EQ(test, slot[0], &in[0]);
	KUNIT_EXPECT_PTR_EQ(test, slot[37], &in[1]);
	KUNIT_EXPECT_NULL(test, slot[1]);
	memset(slot, 0, sizeof(slot));
	KUNIT_EXPECT_EQ(test, linnet_check_slots(in, LINNET_MAX_SLOTS, LINNET_MAX_SLOTS, slot), 0);
	for (i = 0; i < LINNET_MAX_SLOTS; i++)
		KUNIT_EXPECT_PTR_EQ(test, slot[in[i].slot], &in[i]);
	memset(slot, 0, sizeof(slot));
	KUNIT_EXPECT_EQ(test, linnet_check_slots(NULL, 0, 3, slot), 0);
	/* Beyond the stream's slots, beyond all, twice. */
	KUNIT_EXPECT_EQ(test, linnet_check_slots(in, 2, 37, slot), -EINVAL);
	KUNIT_EXPECT_NULL(test, slot[37]);
	memset(slot, 0, sizeof(slot));
	KUNIT_EXPECT_EQ(test, linnet_check_slots(in, 1, 0, slot), -EINVAL);
	in[1].slot = U32_MAX;
	KUNIT_EXPECT_EQ(test, linnet_check_slots(in, 2, LINNET_MAX_SLOTS, slot), -EINVAL);
	memset(slot, 0, sizeof(slot));
	in[1].slot = in[0].slot;
	KUNIT_EXPECT_EQ(test, linnet_check_slots(in, 2, LINNET_MAX_SLOTS, slot), -EINVAL);
	KUNIT_EXPECT_PTR_EQ(test, slot[0], &in[0]);
}

static void linnet_test_array(struct kunit *test)
{
	struct drm_linnet_array a = { };

	KUNIT_EXPECT_EQ(test, linnet_check_array(&a, 4, 24), 0);
	a.stride = 24;
	KUNIT_EXPECT_EQ(test, linnet_check_array(&a, 4, 24), -EINVAL);
	a.count = 4;
	KUNIT_EXPECT_EQ(test, linnet_check_array(&a, 4, 24), 0);
	a.count = 5;
	KUNIT_EXPECT_EQ(test, linnet_check_array(&a, 4, 24), -E2BIG);
	a.count = U32_MAX;
	KUNIT_EXPECT_EQ(test, linnet_check_array(&a, 4, 24), -E2BIG);
	a.count = 1;
	a.stride = 16;
	KUNIT_EXPECT_EQ(test, linnet_check_array(&a, 4, 24), -EINVAL);
	a.stride = 28;
	KUNIT_EXPECT_EQ(test, linnet_check_array(&a, 4, 24), -EINVAL);
	a.stride = 32;
	KUNIT_EXPECT_EQ(test, linnet_check_array(&a, 4, 24), 0);
	a.stride = PAGE_SIZE + 8;
	KUNIT_EXPECT_EQ(test, linnet_check_array(&a, 4, 24), -EINVAL);
	a = (struct drm_linnet_array){ .ptr = 8 };
	KUNIT_EXPECT_EQ(test, linnet_check_array(&a, 4, 24), -EINVAL);
}

/* Segments of invented DMA addresses: nothing is accessed. */
static void linnet_test_segments(struct kunit *test)
{
	static const struct { u64 addr; u32 len; } in[] = {
		{ 0x10000, 0x1000 }, { 0x11000, 0x2000 },	/* touch */
		{ 0x20000, 0x1000 },				/* do not */
		{ 0x1f000, 0x1000 },				/* backwards */
		{ 0x1000000000, 0xfffff000 }, { 0x10fffff000, 0x1000 },	/* too long as one */
	};
	static const struct linnet_segment expect[] = {
		{ 0x10000, 0x3000 }, { 0x20000, 0x1000 }, { 0x1f000, 0x1000 },
		{ 0x1000000000, 0xfffff000 }, { 0x10fffff000, 0x1000 },
	};
	struct linnet_segment out[ARRAY_SIZE(in)] = { };
	struct scatterlist *sg;
	struct sg_table sgt;
	unsigned int i;

	KUNIT_ASSERT_EQ(test, sg_alloc_table(&sgt, ARRAY_SIZE(in), GFP_KERNEL), 0);
	for_each_sgtable_sg(&sgt, sg, i) {
		sg_dma_address(sg) = in[i].addr;
		sg_dma_len(sg) = in[i].len;
	}
	KUNIT_EXPECT_EQ(test, linnet_sg_segments(&sgt, true, NULL, 0), ARRAY_SIZE(expect));
	KUNIT_EXPECT_EQ(test, linnet_sg_segments(&sgt, true, out, ARRAY_SIZE(out)),
			ARRAY_SIZE(expect));
	KUNIT_EXPECT_MEMEQ(test, out, expect, sizeof(expect));
	/* No room for all: none beyond is written. */
	memset(out, 0, sizeof(out));
	KUNIT_EXPECT_EQ(test, linnet_sg_segments(&sgt, true, out, 2), ARRAY_SIZE(expect));
	KUNIT_EXPECT_MEMEQ(test, out, expect, 2 * sizeof(out[0]));
	KUNIT_EXPECT_EQ(test, out[2].len, 0);
	sg_free_table(&sgt);
}

static void linnet_test_segments_pages(struct kunit *test)
{
	struct page *pages = alloc_pages(GFP_KERNEL, 2), *list[4];
	struct linnet_segment out[4];
	struct sg_table sgt;
	int i;

	KUNIT_ASSERT_NOT_NULL(test, pages);
	/* The second and the third page, then the first: two segments. */
	for (i = 0; i < 3; i++)
		list[i] = &pages[(i + 1) % 3];
	KUNIT_ASSERT_EQ(test, sg_alloc_table_from_pages(&sgt, list, 3, 0, 3 * PAGE_SIZE,
							GFP_KERNEL), 0);
	KUNIT_EXPECT_EQ(test, linnet_sg_segments(&sgt, false, out, 4), 2);
	KUNIT_EXPECT_EQ(test, out[0].addr, (u64)page_to_phys(&pages[1]));
	KUNIT_EXPECT_EQ(test, out[0].len, 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, out[1].addr, (u64)page_to_phys(&pages[0]));
	sg_free_table(&sgt);
	__free_pages(pages, 2);
}

static struct kunit_case linnet_cases[] = {
	KUNIT_CASE(linnet_test_stream),
	KUNIT_CASE(linnet_test_stream_counts),
	KUNIT_CASE(linnet_test_params),
	KUNIT_CASE(linnet_test_piece),
	KUNIT_CASE(linnet_test_slots),
	KUNIT_CASE(linnet_test_array),
	KUNIT_CASE(linnet_test_segments),
	KUNIT_CASE(linnet_test_segments_pages),
	{ }
};

static struct kunit_suite linnet_suite = {
	.name = "linnet",
	.test_cases = linnet_cases,
};

kunit_test_suite(linnet_suite);

MODULE_DESCRIPTION("Unit tests of the Linnet accelerator driver");
MODULE_LICENSE("GPL");
LINNET_IMPORT_NS(EXPORTED_FOR_KUNIT_TESTING);
