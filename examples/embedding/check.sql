SELECT id FROM products WHERE slug IS DISTINCT FROM 'product-no-' || id;
