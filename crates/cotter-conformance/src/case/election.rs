//! Elections: a lock whose holder says who it is.

use crate::ground::Ground;

pub(super) async fn one_leads_and_all_see_its_value(ground: Ground) {
    let (one, two) = (ground.client().await.election("n"), ground.client().await.election("n"));
    assert_eq!(two.leader().await.expect("an answer"), None);
    let leading = one.campaign("one:80").await.expect("nobody leads");
    assert!(two.try_campaign("two:80").await.expect("an answer").is_none());
    for election in [&one, &two] {
        let leader = election.leader().await.expect("an answer").expect("one leads");
        assert_eq!((&*leader.value, leader.token), ("one:80", Some(leading.token())));
        assert_eq!(leader.claim, leading.claim_id());
    }
}

pub(super) async fn who_resigns_is_followed(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let leading = one.election("n").campaign("one").await.expect("nobody leads");
    let running = two.election("n");
    let next = ground.spawn(async move { running.campaign("two").await });
    ground.in_line(&one.lock("n"), 1).await;
    let first_term = leading.token();
    leading.release().await.expect("resigned");
    let leading = next.await.expect("a candidate").expect("its turn");
    assert!(leading.token() > first_term);
    let leader = one.election("n").leader().await.expect("an answer").expect("two leads");
    assert_eq!(leader.value, "two");
}

pub(super) async fn an_observer_sees_who_leads(ground: Ground) {
    let (one, two) = (ground.client().await, ground.client().await);
    let mut observer = two.election("n").observe();
    let value = |leader: Option<cotter_core::front::Leader>| leader.map(|leader| leader.value);
    assert_eq!(value(observer.next().await.expect("an answer")), None);
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let mut told = told;
    let watching = ground.spawn(async move {
        while let Ok(leader) = observer.next().await {
            if tell.send(value(leader)).is_err() {
                return;
            }
        }
    });
    let mut sees = async |expected: Option<&str>| {
        let mut seen = None;
        ground
            .eventually("the observer sees it", async || {
                while let Ok(value) = told.try_recv() {
                    seen = Some(value);
                }
                seen.as_ref().is_some_and(|seen| seen.as_deref() == expected)
            })
            .await;
    };
    let leading = one.election("n").campaign("one").await.expect("nobody leads");
    sees(Some("one")).await;
    leading.release().await.expect("resigned");
    sees(None).await;
    let _leading = one.election("n").campaign("again").await.expect("nobody leads");
    sees(Some("again")).await;
    watching.abort();
}
