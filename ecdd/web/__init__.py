"""The detector as a static page: it judges a picture in the browser, without sending it anywhere."""
