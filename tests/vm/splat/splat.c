// SPDX-License-Identifier: GPL-2.0-only
/*
 * One mistake of each kind that the debug kernel is there to report. Loading the module
 * with mistake=NAME makes it; tests/vm/run.sh holds the bench to noticing every one.
 * Whatever is not a mistake is undone before the initialization returns.
 */
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/vmalloc.h>

static char *mistake = "none";
module_param(mistake, charp, 0444);
MODULE_PARM_DESC(mistake, "which mistake to make");

/* Values that the compiler must not know. */
static volatile unsigned int splat_nine = 9, splat_forty = 40;
static volatile char splat_sink;

static void splat_slab(void)
{
	char *p = kmalloc(8, GFP_KERNEL);

	if (!p)
		return;
	splat_sink = p[splat_nine];
	kfree(p);
}

static void splat_freed(void)
{
	char *p = kmalloc(64, GFP_KERNEL);

	if (!p)
		return;
	OPTIMIZER_HIDE_VAR(p);
	kfree(p);
	splat_sink = p[splat_nine];
}

static void splat_vmalloc(void)
{
	char *p = vmalloc(100);

	if (!p)
		return;
	OPTIMIZER_HIDE_VAR(p);
	splat_sink = p[100 + splat_nine];
	vfree(p);
}

static void splat_shift(void)
{
	splat_sink = 1 << splat_forty;
}

static void splat_bounds(void)
{
	static int array[8];

	splat_sink = array[splat_nine];
}

static DEFINE_MUTEX(splat_a);
static DEFINE_MUTEX(splat_b);

static void splat_order(void)
{
	mutex_lock(&splat_a);
	mutex_lock(&splat_b);
	mutex_unlock(&splat_b);
	mutex_unlock(&splat_a);
	mutex_lock(&splat_b);
	mutex_lock(&splat_a);
	mutex_unlock(&splat_a);
	mutex_unlock(&splat_b);
}

static void splat_atomic(void)
{
	static DEFINE_SPINLOCK(lock);

	spin_lock(&lock);
	might_sleep();
	spin_unlock(&lock);
}

static void splat_rcu(void)
{
	static int __rcu *p;

	splat_sink = !rcu_dereference(p);
}

static void splat_list(void)
{
	LIST_HEAD(head);
	struct list_head entry;

	list_add(&entry, &head);
	entry.next = &entry;
	list_del(&entry);
}

static void splat_leak(void)
{
	static const size_t sizes[] = { 100, 200, 300, 400 };
	unsigned int i;

	/* several: a stale copy of one pointer would hide it */
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		void *p = kmalloc(sizes[i], GFP_KERNEL);

		OPTIMIZER_HIDE_VAR(p);
	}
}

static void splat_expired(struct timer_list *t)
{
}

static void splat_timer(void)
{
	struct timer_list *t = kzalloc(sizeof(*t), GFP_KERNEL);

	if (!t)
		return;
	timer_setup(t, splat_expired, 0);
	t->expires = jiffies + 1000 * HZ;
	add_timer(t);
	kfree(t);
}

static void splat_dma(void)
{
	struct platform_device *pdev = platform_device_register_simple("splat", -1, NULL, 0);
	dma_addr_t addr = 4096;

	if (IS_ERR(pdev))
		return;
	if (!dma_coerce_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
		dma_unmap_page(&pdev->dev, addr, PAGE_SIZE, DMA_TO_DEVICE);
	platform_device_unregister(pdev);
}

static void splat_warn(void)
{
	WARN_ON(splat_nine == 9);
}

static void splat_crash(void)
{
	panic("on purpose");
}

static void splat_hang(void)
{
	for (;;)
		msleep(1000);
}

static void splat_none(void)
{
}

static const struct {
	const char *name;
	void (*make)(void);
} splat_mistakes[] = {
	{ "slab", splat_slab }, { "freed", splat_freed }, { "vmalloc", splat_vmalloc },
	{ "shift", splat_shift }, { "bounds", splat_bounds }, { "order", splat_order },
	{ "atomic", splat_atomic }, { "rcu", splat_rcu }, { "list", splat_list },
	{ "leak", splat_leak }, { "timer", splat_timer }, { "dma", splat_dma },
	{ "warn", splat_warn }, { "crash", splat_crash }, { "hang", splat_hang },
	{ "none", splat_none },
};

static int __init splat_init(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(splat_mistakes); i++) {
		if (!strcmp(mistake, splat_mistakes[i].name)) {
			splat_mistakes[i].make();
			return 0;
		}
	}
	return -EINVAL;
}

static void __exit splat_exit(void)
{
}

module_init(splat_init);
module_exit(splat_exit);
MODULE_DESCRIPTION("Mistakes on purpose");
MODULE_LICENSE("GPL");
